"""`featvis images` measures picture files without a network."""

import json

import numpy as np
from helpers.running import printed, refused, save_pictures
from PIL import Image


def test_noise_has_no_checkerboard(place):
    output = printed("images", "photos", "--json", "a.json")
    assert output.startswith("Fine detail of the pictures: No checkerboard found: E(8) = ")
    assert "12 pictures, errors from pictures" in output
    content = json.loads((place / "a.json").read_text())
    assert content["schema"] == "featvis.images/1"
    assert content["high_passed"]["energy"].keys() == {"2", "4", "8"}
    assert content["raw"]["controls"].keys() == {"3", "5", "7"}
    assert (content["pictures"], content["verdict"]["longest"], content["flat"]) == (12, 8, 0)
    assert (content["high_passed"]["traced"], content["high_passed"]["found"]) == (None, [])
    assert content["high_passed"]["not_measurable"] == []


def test_a_planted_checkerboard_is_found(place):
    for path in (place / "photos").iterdir():
        pixels = np.asarray(Image.open(path)).astype(float)
        rows, columns = np.indices(pixels.shape[:2])
        Image.fromarray((pixels * (0.7 + 0.3 * ((rows + columns) % 2)[..., None])).astype(np.uint8)).save(path)
    output = printed("images", "photos", "--json", "a.json")
    assert output.startswith("Fine detail of the pictures: Period 2, E(2) = 0.")
    content = json.loads((place / "a.json").read_text())
    (found,) = content["high_passed"]["found"]
    assert (found["period"], found["frequency"], found["layers"]) == ([2, 2], [-0.5, 0.5], [])
    assert found["energy"] == content["high_passed"]["energy"]["2"]
    assert found["chance"] == content["verdict"]["chances"]["2"]
    assert "period 3" not in printed("images", "photos", "--period", "2")


def test_a_period_that_is_too_long_for_the_pictures_is_said_not_to_be_measurable(place):
    printed("images", "photos", "--period", "16", "--json", "a.json")
    content = json.loads((place / "a.json").read_text())
    # 48 pixels hold six periods of 8, and three of 16.
    assert content["verdict"]["longest"] == 8
    assert content["high_passed"]["not_measurable"] == [[16, 16]]


def test_jpeg_files_flat_and_bad_ones(place):
    Image.open("photos/0.png").save("photos/0.jpg")
    Image.new("RGB", (64, 48), "red").save("photos/flat.png")
    (place / "photos" / "bad.png").write_bytes(b"")
    assert "is empty" in refused("images", "photos")
    output = printed("images", "photos", "--skip-bad")
    assert "1 of 15 pictures are JPEG files" in output
    assert "1 flat pictures were left out" in output
    assert "skipped 1 pictures" in output
    Image.new("RGB", (9, 9)).save("photos/small.png")
    assert "small.png: pictures of 9 x 9 pixels hold fewer than two periods of 8" in refused(
        "images", "photos/small.png"
    )
    assert "none of 1 pictures has any detail" in refused("images", "photos/flat.png")


def test_different_sizes_go_together(place):
    save_pictures(place / "more", 4, (37, 41))
    assert "14 pictures" in printed("images", "photos", "more/0.png", "more/1.png")
    assert "3 pictures" in printed("images", "photos", "--limit", "3")


def test_what_small_pictures_cannot_tell_is_said(place):
    save_pictures(place / "small", 4, (17, 17))
    assert " No period above 4 fits four times into the pictures" in printed("images", "small")
    output = printed("images", "small", "--period", "7")
    assert output.startswith("Fine detail of the pictures: Nothing can be told at this size: E(7) = ")
    assert "No period fits four times into the pictures" in output
