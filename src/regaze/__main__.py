"""`python -m regaze`: the `regaze` command, also where the environment's programs are not on the path."""

from regaze.cli import main

if __name__ == "__main__":
    main()
