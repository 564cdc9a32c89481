"""DSRL and its baseline, trained and tested on generated street scenes in minutes: python tools/demo.py."""

from dsrl_mm.demo.run import main

if __name__ == '__main__':
    main()
