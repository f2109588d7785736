"""``python -m energon_prep``: the command line."""

from energon_prep.cli import main

if __name__ == "__main__":
    main()
