"""The page that compares segmentation models in a browser, and what builds it (``docs/user_guides/web.md``)."""
