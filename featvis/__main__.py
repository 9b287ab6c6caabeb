"""`python -m featvis`."""

from featvis.cli import main

if __name__ == "__main__":
    main()
