"""Files that run without torch: the encoder with the certified search, the decoder.

Also of `certvq.assign._onnx`.
"""

import copy
import subprocess
import sys
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import certvq
from certvq.errors import (
    BackendUnavailableError,
    FloatEnvironmentError,
    NonFiniteError,
    OptionError,
)
from certvq.export import _onnx, export_onnx, onnx_session

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(model, folder)
    return folder


def run(path, array):
    session = onnx_session(path)
    (result,) = session.run(None, {session.get_inputs()[0].name: array})
    return result


@pytest.mark.parametrize("shape", [(3, 3, 32, 24), (1, 3, 40, 32), (2, 3, 16, 64)])
def test_the_encoder_gives_the_codes_of_the_model(model, folder, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    codes = run(folder / "encoder.onnx", images.numpy())
    expected = model.encode(images)
    latents = model.latents(images).reshape(-1, model.config.dim)
    radii = certvq.stability_radius(latents, model.quantizer.codebook, expected.flatten())
    firm = (radii > 1e-4).reshape(expected.shape).numpy()  # the runtime rounds in another order
    assert firm.mean() > 0.5  # noise lies near borders more often than photographs do
    assert codes.shape == expected.shape
    assert (codes == expected.numpy())[firm].all()


def test_the_search_in_the_graph_is_certvqs(folder):
    graph = onnx.load(folder / "encoder.onnx").graph
    assert [node.op_type for node in graph.node if node.domain] == ["CertVQAssign"]


def test_the_decoder_needs_standard_operators_only(model, images, folder):
    codes = model.encode(images)
    decoder = onnx.load(folder / "decoder.onnx")
    assert {node.domain for node in decoder.graph.node} == {""}
    found = run(folder / "decoder.onnx", codes.numpy())
    np.testing.assert_allclose(found, model.decode(codes).numpy(), atol=1e-5)


@pytest.mark.parametrize("bad", [-1, 512])
def test_codes_out_of_range_are_not_decoded(model, images, folder, bad):
    codes = model.encode(images).numpy()
    codes[0, 1, 2] = bad
    with pytest.raises(Exception, match="out of data bounds"):
        run(folder / "decoder.onnx", codes)


def test_the_files_run_without_torch(model, images, folder, tmp_path):
    np.save(tmp_path / "images.npy", images.numpy())
    script = (
        "import sys, numpy as np\n"
        "sys.modules['torch'] = None\n"
        "from certvq.export import onnx_session\n"
        f"session = onnx_session({str(folder / 'encoder.onnx')!r})\n"
        f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
        "print(session.run(None, {session.get_inputs()[0].name: images})[0].shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.stdout.strip() == "(3, 8, 6)", done.stderr


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_pixel_is_an_error_and_the_session_goes_on(folder, images, bad):
    session = onnx_session(folder / "encoder.onnx")
    name = session.get_inputs()[0].name
    (codes,) = session.run(None, {name: images.numpy()})
    broken = images.numpy().copy()
    broken[1, 2, 8, 8] = bad
    with pytest.raises(NonFiniteError, match="latents must be finite, got nan at row 48"):
        session.run(None, {name: broken})
    value = onnxruntime.OrtValue.ortvalue_from_numpy(broken)
    with pytest.raises(NonFiniteError, match="latents must be finite"):
        session.run_with_ort_values(None, {name: value})
    assert (session.run(None, {name: images.numpy()})[0] == codes).all()


ALONE = """
import sys, numpy as np, onnxruntime
from onnxruntime_extensions import get_library_path
from certvq.export._session import _register
_register()
options = onnxruntime.SessionOptions()
if sys.argv[2] == "flush":
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
options.register_custom_ops_library(get_library_path())
session = onnxruntime.InferenceSession(sys.argv[1], options)
images = np.full((1, 3, 16, 16), 0.5 if sys.argv[2] == "flush" else np.nan, np.float32)
try:
    print("codes", session.run(None, {session.get_inputs()[0].name: images}))
except Exception as error:
    print("refused", type(error).__name__)
"""


@pytest.mark.parametrize("kind", ["nan", "flush"])
def test_a_session_of_onnxruntime_alone_is_refused_codes_and_lives_on(folder, kind):
    """Of an exception in the operator the process would die."""
    command = [sys.executable, "-c", ALONE, str(folder / "encoder.onnx"), kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["refused"]), done.stderr


def test_a_session_that_flushes_subnormals_is_refused(folder):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    with pytest.raises(FloatEnvironmentError, match=r"'session\.set_denormal_as_zero'.*leave it"):
        onnx_session(folder / "encoder.onnx", sess_options=options)


def test_a_model_in_train_mode_is_refused(model, tmp_path):
    with pytest.raises(OptionError, match=r"must be in eval mode.*model\.eval\(\)"):
        export_onnx(copy.deepcopy(model).train(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_float32_are_refused(model, tmp_path):
    with pytest.raises(OptionError, match=r"must hold float32.*got \['float64'\]"):
        export_onnx(copy.deepcopy(model).double(), tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.onnx"):
        onnx_session(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime", "onnxruntime_extensions"])
def test_what_is_not_installed_is_named(missing, model, tmp_path, monkeypatch):
    _onnx._operators.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    use = partial(export_onnx, model) if missing == "onnxscript" else onnx_session
    with pytest.raises(BackendUnavailableError, match=rf"{missing}.*pip install 'certvq\[onnx\]'"):
        use(tmp_path)


def test_the_search_is_declared_to_onnx_once(model, folder, tmp_path):
    del folder  # declared by now
    _onnx._operators.cache_clear()
    export_onnx(model, tmp_path)
    assert onnx.defs.has("CertVQAssign", 1, "ai.onnx.contrib")
