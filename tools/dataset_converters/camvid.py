"""Convert the original CamVid release: python tools/dataset_converters/camvid.py RELEASE OUT [--size 360 480]."""

from dsrl_mm.seg.camvid_release import main

if __name__ == '__main__':
    main()
