"""Deployment, export and comparison of trained models of any task."""

from .compare import Trained, compare_models, evaluate, latencies
from .deploy import build_deploy_model, deploy_config, export_program, save_deploy
from .task import task_of

__all__ = [
    'Trained',
    'build_deploy_model',
    'compare_models',
    'deploy_config',
    'evaluate',
    'export_program',
    'latencies',
    'save_deploy',
    'task_of',
]
