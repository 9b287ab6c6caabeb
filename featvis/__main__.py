"""`python -m featvis`."""

from featvis.commands.cli import main

if __name__ == "__main__":
    main()
