"""`python -m telepresence` is the command `telepresence`."""

from telepresence.cli import main

if __name__ == "__main__":
    main()
