"""``make web``: the page with its models and examples, as files that any web server can serve."""

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from dsrl_mm.apis.compare import add_models, quiet, read_models
from projects.street_scenes.scenes import make_scene

from .models import Shown, export, model_zoo

__all__ = ['build', 'main']

HERE = Path(__file__).parent
#: The runtime's files in the page, by their names in its npm package.
RUNTIME = {'ort.wasm.bundle.min.mjs': 'ort.js', 'ort-wasm-simd-threaded.wasm': 'ort.wasm'}
#: Random seeds of the example pictures by their weather: of 40, some that the zoo's models label well, for drawings.
EXAMPLES = dict(clouds=29, sun=37, fog=4)
EXAMPLE_SIZE = (360, 480)


def main(argv: list[str] | None = None) -> None:
    """Build the page that compares segmentation models in a browser."""
    parser = argparse.ArgumentParser('python -m projects.web', description=main.__doc__)
    parser.add_argument('--out', default=HERE / 'dist', type=Path, help='folder for the page (projects/web/dist)')
    add_models(parser, required=False)
    args = parser.parse_args(argv)
    quiet()
    own = [Shown('Your models', name, trained) for name, trained in read_models(args).items()]
    build(own or model_zoo(), args.out)
    print(f'Type: python -m http.server -d {args.out}\nThen open http://localhost:8000')


def build(models: Iterable[Shown], out: Path) -> None:
    """Write the page.

    Args:
        models (Iterable[Shown]): what it compares.
        out (Path): folder; created if missing. Its models are replaced.

    Raises:
        FileNotFoundError: if the runtime was not installed.
        FileExistsError: if the folder holds something else than a page of this command.
    """
    runtime = HERE / 'node_modules/onnxruntime-web/dist'
    if not runtime.is_dir():
        raise FileNotFoundError(f'{runtime} is missing. Type: npm ci --prefix {HERE}')
    if out.exists() and any(out.iterdir()) and not all((out / name).exists() for name in ('manifest.json', 'ort.wasm')):
        raise FileExistsError(f'{out} holds other files: name a folder that is empty or missing')
    out.mkdir(parents=True, exist_ok=True)
    # Made beside the page that is there, which stays as it is if an export fails.
    with TemporaryDirectory(prefix='.', dir=out) as folder:
        made = shutil.copytree(HERE / 'page', Path(folder, 'page'))
        for name, copy in RUNTIME.items():
            shutil.copy(runtime / name, made / copy)
        (made / 'models').mkdir()
        (made / 'examples').mkdir()
        manifest = dict(
            runtime=dict(path='ort.wasm', bytes=(made / 'ort.wasm').stat().st_size),
            groups=export(models, made / 'models'),
            examples=[_paint(made / 'examples', *example) for example in EXAMPLES.items()],
        )
        (made / 'manifest.json').write_text(json.dumps(manifest, indent=1))
        for replaced in ('models', 'examples'):
            shutil.rmtree(out / replaced, ignore_errors=True)
        shutil.copytree(made, out, dirs_exist_ok=True)


def _paint(folder: Path, weather: str, seed: int) -> dict[str, str]:
    """Paint an example picture; return its path in the page, and what it shows."""
    image, _ = make_scene(EXAMPLE_SIZE, np.random.default_rng((33, seed)))
    cv2.imwrite(str(folder / f'{weather}.png'), image)
    return dict(path=f'{folder.name}/{weather}.png', name=f'Drawn street, {weather}')
