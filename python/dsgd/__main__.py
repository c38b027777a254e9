"""``python -m dsgd``."""

from dsgd.cli import main

if __name__ == "__main__":
    main()
