from .checkpoint.checkpoint import Checkpoint as Checkpoint
from .checkpoint.networks import load as load
from .checkpoint.networks import save as save
from .checkpoint.recipe import Recipe as Recipe
from .checkpoint.recipe import load_recipe as load_recipe
from .conversion.check import check as check
from .conversion.convert import convert as convert
from .conversion.finetune import finetune as finetune
from .conversion.quantize import quantize as quantize
from .diffusion.moments import eps_second_moment as eps_second_moment
from .diffusion.sampling.drawing import invert as invert
from .diffusion.sampling.drawing import sample as sample
from .diffusion.sampling.solver_path import SolverPath as SolverPath
from .diffusion.schedule import ContinuousSchedule as ContinuousSchedule
from .diffusion.schedule import Schedule as Schedule
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.metrics.cache import statistics_of as statistics_of
from .evaluation.metrics.features import Inception as Inception
from .evaluation.metrics.gaussian import Statistics as Statistics
from .evaluation.metrics.gaussian import load_statistics as load_statistics
from .exchange.onnx_export import export_onnx as export_onnx
from .images.sources.source import open_source as open_source
from .report.compare import compare as compare
from .training.loop import train as train

__version__: str
