"""``python -m jobs`` is ``dawnchorus``."""

from jobs.cli import main

if __name__ == "__main__":
    main()
