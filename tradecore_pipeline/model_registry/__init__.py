"""Fits as MLflow runs and registered models; the only code that speaks to MLflow, which it imports when first used."""

from tradecore_pipeline.model_registry.registry import LoggedModel, ModelRegistry, Verdict
from tradecore_pipeline.model_registry.runs import Place
from tradecore_pipeline.model_registry.stored import HMM, ModelKind, StoredModel

__all__ = ["HMM", "LoggedModel", "ModelKind", "ModelRegistry", "Place", "StoredModel", "Verdict"]
