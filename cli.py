"""The command line in a checkout: `python cli.py ...` does what `featvis ...` does."""

from featvis.commands.cli import main

if __name__ == "__main__":
    main()
