"""Deployment, export and comparison of trained models of any task."""

from .compare import Trained, compare_models, evaluate, latencies
from .deploy import build_deploy_model, deploy_config, save_deploy
from .export import export_program
from .export_files import ExportOptions
from .hub import save_hub
from .inferencer import Inferencer
from .predictors import Prediction
from .runtime import Runtime, load_runtime
from .task import task_of

__all__ = [
    'ExportOptions',
    'Inferencer',
    'Prediction',
    'Runtime',
    'Trained',
    'build_deploy_model',
    'compare_models',
    'deploy_config',
    'evaluate',
    'export_program',
    'latencies',
    'load_runtime',
    'save_deploy',
    'save_hub',
    'task_of',
]
