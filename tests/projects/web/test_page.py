"""The page in a headless browser: what a person does and sees, beside the same models in Python."""

import re
import shutil
import threading
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import ExifTags, Image
from toy_data import write_config
from toy_models import write_model

from dsrl_mm.apis import Trained, load_runtime
from projects.street_scenes.scenes import make_scene
from projects.web import build
from projects.web.models import Shown, model_zoo

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
NPM = build.HERE / 'node_modules'
pytestmark = [
    pytest.mark.skipif(not BROWSER, reason='There is no Chromium. On Debian: apt-get install chromium'),
    pytest.mark.skipif(not NPM.is_dir(), reason='npm packages are missing. Type: npm ci --prefix projects/web'),
]
ARGS = ('--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update')
DABNET = 'DABNet'
#: The toy's network.
LONG = 'A network whose name is longer than a phone is wide'
#: Height and width of the toy model's canvas.
TOY = (48, 64)


class Server(ThreadingHTTPServer):
    """A server of a folder on this machine, which counts requests."""

    def __init__(self, folder: Path):
        self.requests = 0
        super().__init__(('127.0.0.1', 0), partial(_Handler, directory=folder))
        self.url = f'http://127.0.0.1:{self.server_port}'
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.requests += 1


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The page with two DABNets of the zoo and a toy that rebuilds images."""
    init_default_scope('mmseg')
    folder = tmp_path_factory.mktemp('web')
    names = 'baseline', 'SSSR early + SISR'
    zoo = [shown for shown in model_zoo() if shown.network == DABNET and shown.name in names]
    cfg = Config.fromfile(write_config(folder, folder))
    cfg.crop_size = TOY
    cfg.model.sr_aux.head.residual = True  # so that what it rebuilds is the picture, without any training
    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), folder / 'toy.pth')
    build.build([*zoo, Shown(LONG, 'DSRL', Trained(cfg, folder / 'toy.pth'))], folder / 'site')
    return folder / 'site'


@pytest.fixture(scope='module')
def server(site) -> Iterator[Server]:
    with Server(site) as server:
        yield server
        server.shutdown()


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGS)
        yield browser
        browser.close()


def open_page(browser, **options):
    """Open an empty page that waits long enough on a busy machine."""
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)  # ms
    return page


@pytest.fixture(scope='module')
def page(browser, server):
    """The page with everything loaded; ``requests`` are the addresses it asked for. No error may be thrown."""
    page = open_page(browser, viewport=dict(width=1200, height=900))
    page.requests, page.problems = [], []
    page.on('request', lambda request: page.requests.append(request.url))
    page.on('pageerror', lambda error: page.problems.append(str(error)))
    page.goto(server.url)
    page.get_by_text('Everything is loaded').wait_for()
    yield page
    assert page.problems == []


def settle(page) -> None:
    """Wait for the results of the picture that was chosen last."""
    page.locator('#results[aria-busy=false]').wait_for()


def choose(page, picture: np.ndarray | bytes, name: str) -> None:
    """Choose a picture (B, G, R), or a file's bytes, by a new name; wait for what the page says of it."""
    data = picture if isinstance(picture, bytes) else cv2.imencode('.png', picture)[1].tobytes()
    page.set_input_files('#file', dict(name=name, mimeType='application/octet-stream', buffer=data))
    page.locator('.messages', has_text=name).wait_for()
    settle(page)


def choose_network(page, name: str) -> None:
    page.get_by_label('Network').select_option(name)
    settle(page)


def pixels(page, title: str) -> np.ndarray:
    """R, G, B of a card's canvas."""
    card = page.locator('.card').filter(has=page.get_by_role('heading', name=title, exact=True))
    # As a PNG, which keeps every byte of opaque pixels.
    url = card.locator('canvas').evaluate('(canvas) => canvas.toDataURL()')
    return cv2.imdecode(np.frombuffer(b64decode(url.split(',')[1]), np.uint8), cv2.IMREAD_COLOR_RGB)


def canvas_of(picture: np.ndarray, size: tuple[int, int], fill: list[int]) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture (B, G, R) fitted into a canvas (R, G, B), and the size of its part."""
    scale = min(side / own for side, own in zip(size, picture.shape))
    height, width = (int(side * scale + 0.5) for side in picture.shape[:2])
    canvas = np.full((*size, 3), fill, np.uint8)
    canvas[:height, :width] = cv2.resize(picture, (width, height))[..., ::-1]
    return canvas, (height, width)


def street(size: tuple[int, int]) -> np.ndarray:
    return make_scene(size, np.random.default_rng(5))[0]


@pytest.mark.parametrize('size', [(360, 480), (500, 750), (480, 300)], ids=['same size', 'wide', 'upright'])
def test_masks_are_those_of_onnxruntime(page, site, size):
    choose_network(page, DABNET)
    page.get_by_label('Opacity of masks').fill('100')
    picture = street(size)
    choose(page, picture, f'{size}.png')
    masks = []
    for number, title in enumerate(('Baseline', 'DSRL: SSSR early + SISR')):
        runtime = load_runtime(site / f'models/{number}.onnx')
        canvas, (height, width) = canvas_of(picture, (360, 480), [124, 116, 104])
        assert (pixels(page, 'Picture') == canvas[:height, :width]).all()
        masks.append(runtime(canvas[None])[0, :height, :width])
        expected = np.array(runtime.meta['palette'], np.uint8)[masks[-1]]
        # Sums are rounded in another order, which can only move pixels between two equally likely classes.
        assert (pixels(page, title) == expected).all(-1).mean() > 0.9999
    share = 100 * (masks[0] != masks[1]).mean()
    said = re.search(r'from Baseline: DSRL: SSSR early \+ SISR ([\d.]+)%', page.locator('#status').inner_text())
    assert float(said[1]) == pytest.approx(share, abs=0.06)
    assert share > 1


def card_texts(page) -> dict[str, str]:
    """What every card says, by title."""
    texts = (card.inner_text().split('\n', 1) for card in page.locator('.card').all())
    return {title: ' '.join(text.split()) for title, text in texts}


def test_what_the_page_says_of_the_models(page, site):
    choose_network(page, DABNET)
    picture = street((360, 480))
    choose(page, picture, 'said.png')
    baseline, dsrl = (load_runtime(site / f'models/{number}.onnx')(picture[None, ..., ::-1])[0] for number in (0, 1))
    share = f'{100 * (baseline != dsrl).mean():.1f}%'
    known = 'Input size 180 × 240 Val mIoU {} Seed {} License research only'
    texts = card_texts(page)
    assert re.fullmatch(rf'Time [\d.]+ ms Pixels that differ reference {known.format("62.84", 0)}', texts['Baseline'])
    name = 'DSRL: SSSR early + SISR'
    assert re.fullmatch(rf'Time [\d.]+ ms Pixels that differ {share} {known.format("63.74", 1)}', texts[name])
    page.get_by_label('Reference').select_option(name)
    texts = card_texts(page)
    assert f'Pixels that differ {share} ' in texts['Baseline'] and 'differ reference ' in texts[name]
    assert page.get_by_role('status').inner_text().endswith(f'from {name}: Baseline {share}.')
    page.get_by_label('Reference').select_option('Baseline')
    rows = [row.inner_text().split('\t') for row in page.locator('#shares tr').all()]
    assert [cell.strip() for cell in rows[0]] == ['', 'Baseline', name]
    found = np.array([[float(cell.strip().rstrip('%')) for cell in row[1:]] for row in rows[1:]])
    shares = np.array([100 * np.bincount(mask.ravel(), minlength=11) / mask.size for mask in (baseline, dsrl)])
    assert found == pytest.approx(shares.T, abs=0.06)


def test_a_picture_can_be_dropped(page):
    script = """(bytes) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([Uint8Array.from(bytes)], 'dropped.png'));
        dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
    }"""
    choose_network(page, DABNET)
    picture = street((360, 480))
    page.evaluate(script, cv2.imencode('.png', picture)[1].ravel().tolist())
    page.locator('#status', has_text='dropped.png. Pixels that differ').wait_for()
    assert (pixels(page, 'Picture') == picture[..., ::-1]).all()


def test_a_phones_photograph_is_read_as_opencv_reads_it(page):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned
    file = BytesIO()
    Image.fromarray(street((480, 640))).save(file, 'JPEG', exif=exif)
    choose_network(page, DABNET)
    choose(page, file.getvalue(), 'upright.jpg')
    picture = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    canvas, (height, width) = canvas_of(picture, (360, 480), [0, 0, 0])
    assert (height, width) == (360, 270)
    assert (pixels(page, 'Picture') == canvas[:height, :width]).all()


def test_only_pixels_that_differ_keep_their_color(page):
    choose_network(page, DABNET)
    choose(page, street((360, 480)), 'differ.png')
    differ = (pixels(page, 'Baseline') != pixels(page, 'DSRL: SSSR early + SISR')).any(-1)
    page.get_by_label('Show only pixels that differ').check()
    colored = np.ptp(pixels(page, 'DSRL: SSSR early + SISR').astype(int), axis=-1) > 0
    assert not np.ptp(pixels(page, 'Baseline').astype(int), axis=-1).any()
    page.get_by_label('Show only pixels that differ').uncheck()
    assert not (colored & ~differ).any()
    assert colored.sum() > 0.5 * differ.sum()  # some classes are gray


def test_the_rebuilt_image_is_the_models(page, site):
    choose_network(page, LONG)
    picture = street((96, 128))
    choose(page, picture, 'small.png')
    canvas, _ = canvas_of(picture, TOY, [0, 0, 0])
    expected = load_runtime(site / 'models/2_rebuilt.onnx')(canvas[None])[0]
    assert np.abs(pixels(page, 'Rebuilt by DSRL').astype(int) - expected).max() <= 1
    assert np.ptp(expected) > 100


def test_a_file_that_is_no_picture_gets_a_message_and_changes_nothing(page):
    choose_network(page, DABNET)
    choose(page, street((360, 480)), 'before.png')
    before = pixels(page, 'Baseline')
    choose(page, b'Not a picture.', 'notes.png')
    alert = page.get_by_role('alert')
    assert alert.inner_text() == 'notes.png cannot be read: choose a PNG, JPEG or WebP file'
    assert 'before.png' in page.get_by_role('status').inner_text()
    assert (pixels(page, 'Baseline') == before).all()
    choose(page, street((360, 480)), 'after.png')
    assert alert.inner_text() == ''


@pytest.mark.parametrize('size', [(1, 1), (2000, 10), (10, 2000)], ids=['a pixel', 'tall', 'wide'])
def test_cards_of_any_picture_fit_the_window(page, size):
    choose_network(page, LONG)
    choose(page, np.zeros((*size, 3), np.uint8), f'{size}.png')
    for canvas in page.locator('canvas').all():
        assert canvas.bounding_box()['height'] < 900
    boxes = [page.locator(f'#{side}-canvas').bounding_box() for side in ('left', 'right')]
    assert boxes[0] == boxes[1]


def test_a_page_whose_runtime_did_not_arrive_asks_for_it_again(browser, server):
    page = open_page(browser)
    page.route('**/ort.wasm', lambda route: route.abort(), times=1)
    page.goto(server.url)
    page.get_by_role('alert').filter(has_text='Not everything could be loaded: Failed to fetch').wait_for()
    choose(page, street((36, 48)), 'again.png')
    assert 'again.png. Pixels that differ' in page.get_by_role('status').inner_text()
    page.close()


def test_a_worker_that_does_not_start_is_told_from_a_bad_picture(browser, server):
    page = open_page(browser)
    page.route('**/resize.js', lambda route: route.abort())
    page.goto(server.url)
    page.get_by_role('alert').filter(has_text='Not everything could be loaded: the worker did not start').wait_for()
    page.set_input_files('#file', dict(name='a.png', mimeType='image/png', buffer=b''))
    page.get_by_role('alert').filter(has_text='a.png cannot be read: the worker did not start').wait_for()
    page.close()


def test_a_slow_example_does_not_replace_a_later_picture(browser, server):
    page, held = open_page(browser), []
    page.route('**/examples/sun.png', lambda route: held.append(route))
    page.goto(server.url)
    page.get_by_role('button', name='Drawn street, sun').click()
    choose(page, street((36, 48)), 'mine.png')
    for route in held:
        route.continue_()
    page.wait_for_timeout(500)
    settle(page)
    assert 'mine.png. Pixels that differ' in page.get_by_role('status').inner_text()
    page.close()


def test_the_page_goes_on_without_a_network(page):
    choose_network(page, DABNET)
    page.context.set_offline(True)
    try:
        choose_network(page, LONG)
        choose(page, street((360, 480)), 'offline.png')
        assert 'offline.png' in page.get_by_role('status').inner_text()
        page.get_by_role('button', name='Drawn street, fog').click()
        page.locator('#status', has_text='Drawn street, fog.').wait_for()
    finally:
        page.context.set_offline(False)


def test_nothing_reaches_another_origin(page, server, tmp_path):
    own = ('blob:', f'{server.url}/')
    assert [url for url in page.requests if not url.startswith(own)] == []
    assert len(page.requests) > 10
    with Server(tmp_path) as elsewhere:
        script = f'fetch("{elsewhere.url}/", {{ mode: "no-cors" }}).then(() => "sent", () => "refused")'
        (worker,) = page.workers
        assert [place.evaluate(script) for place in (page, worker)] == ['refused', 'refused']
        assert elsewhere.requests == 0
        elsewhere.shutdown()


def test_the_keyboard_suffices(page):
    choose_network(page, DABNET)
    page.locator('#file').focus()
    page.keyboard.press('Tab')
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.firstChild.alt') == 'Drawn street, sun'
    page.keyboard.press('Enter')
    page.locator('#status', has_text='Drawn street, sun.').wait_for()
    for _ in range(2):  # past the third example
        page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.id') == 'network'
    page.keyboard.press('ArrowDown')
    page.get_by_role('heading', name='Rebuilt by DSRL').wait_for()
    for _ in range(20):
        if page.evaluate('document.activeElement.id') == 'slider':
            break
        page.keyboard.press('Tab')
    page.keyboard.press('End')
    assert page.locator('#right-canvas').evaluate('(canvas) => getComputedStyle(canvas).clipPath') == (
        'inset(0px 0px 0px 100%)'
    )
    assert page.get_by_role('slider', name='Divide').get_attribute('aria-valuetext').startswith('100 % ')


def test_the_sides_of_the_slider_are_chosen_apart(page):
    choose_network(page, DABNET)
    page.get_by_label('Left', exact=True).select_option('Picture')
    left, right = (page.locator(f'#{side}-canvas') for side in ('left', 'right'))
    assert left.get_attribute('aria-label') == page.locator('.card canvas').first.get_attribute('aria-label')
    assert right.get_attribute('aria-label').startswith('Mask: ')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_axe_finds_nothing(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.evaluate((NPM / 'axe-core/axe.min.js').read_text())
    found = page.evaluate('axe.run()')
    assert [(rule['id'], [node['html'] for node in rule['nodes']]) for rule in found['violations']] == []
    assert len(found['passes']) > 20


def test_a_phone_scrolls_in_one_direction(page):
    choose_network(page, DABNET)
    page.set_viewport_size(dict(width=320, height=740))
    try:
        assert page.evaluate('document.documentElement.scrollWidth') == 320
        widths = page.locator('.card').evaluate_all('(cards) => cards.map((card) => card.clientWidth)')
        assert len(widths) == 3
        assert min(widths) > 280
    finally:
        page.set_viewport_size(dict(width=1200, height=900))


def test_the_command_shows_models_of_ones_own(tmp_path, monkeypatch, capsys):
    built = []
    monkeypatch.setattr(build, 'build', lambda models, out: built.append((list(models), out)))
    build.main(['--model', 'mine', *map(str, write_model(tmp_path)), '--out', str(tmp_path / 'site')])
    (((shown,), out),) = built
    assert (shown.network, shown.name, shown.trained.checkpoint) == ('Your models', 'mine', str(tmp_path / 'toy.pth'))
    assert out == tmp_path / 'site' and f'python -m http.server -d {out}\n' in capsys.readouterr().out


def test_the_command_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(build, 'HERE', tmp_path)
    with pytest.raises(FileNotFoundError, match='npm ci --prefix'):
        build.build([], tmp_path / 'site')


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / 'models').mkdir()
    (tmp_path / 'models/mine.pth').touch()
    with pytest.raises(FileExistsError, match='holds other files: name a folder that is empty or missing'):
        build.build([], tmp_path)
    assert (tmp_path / 'models/mine.pth').exists()
    (tmp_path / 'app.js').touch()  # as pages of others have
    with pytest.raises(FileExistsError, match='holds other files'):
        build.build([], tmp_path)


def test_other_users_may_read_the_page(site):
    assert site.stat().st_mode == (build.HERE / 'page').stat().st_mode


def test_a_build_that_fails_leaves_the_page_as_it_is(site, tmp_path, monkeypatch):
    page = shutil.copytree(site, tmp_path / 'site')

    def fail(*_):
        raise ValueError('no such layer')

    monkeypatch.setattr(build, 'export', fail)
    with pytest.raises(ValueError, match='no such layer'):
        build.build([], page)
    files = [sorted(str(file.relative_to(root)) for file in root.rglob('*')) for root in (site, page)]
    assert files[0] == files[1] and (page / 'manifest.json').read_bytes() == (site / 'manifest.json').read_bytes()
