"""The law of the rule table: around every operation with a rule, the error goes to zero."""

import pytest
import torch

import snnconvert
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.rules import RULES
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from tests.support.rule_cases import CASES, JUMPS, MOVES

X = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(3))


def constants() -> dict:
    g = torch.Generator().manual_seed(4)
    shapes = {
        "w1": (4, 2, 3, 3),
        "w2": (4, 2, 3, 3),
        "wv": (6, 4),
        "w1d": (4, 4, 3),
        "w2d": (4, 4, 3, 3),
        "w3d": (1, 1, 3, 3, 3),
        "w56": (5, 6),
        "w65": (6, 5),
        "w45": (4, 5),
        "b4": (4,),
        "b5": (5,),
        "b6": (6,),
        "b1": (1,),
        "w1tri": (5, 6, 6),
    }
    found = {name: torch.randn(shape, generator=g) * 0.4 for name, shape in shapes.items()}
    found |= {
        "positive": torch.rand(8, generator=g) + 0.5,
        "positive4": torch.rand(4, generator=g) + 0.5,
        "mask": torch.rand(8, 8, generator=g) > 0.5,
        "limits": torch.tensor([0.1, 0.3, 0.9]),
        "ids": torch.tensor([3, 1, 2]),
        "ids3": torch.tensor([[3, 1, 2]] * 6),
        "zero": torch.tensor(0.0),
        "gids": torch.randint(6, (6, 3), generator=g),
        "ceiling": torch.tensor(1.2),
        "scale": torch.tensor(0.05),
        "zero_point": torch.tensor(0, dtype=torch.int32),
        "scales": torch.full((4,), 0.05),
        "zero_points": torch.zeros(4, dtype=torch.int32),
    }
    return found


BEFORE = [
    ("m", "aten.conv2d.default", ("x", "w1", None, [1, 1], [1, 1])),
    ("h", "aten.relu.default", ("m",)),
    ("mg", "aten.conv2d.default", ("x", "w2", None, [1, 1], [1, 1])),
    ("g", "aten.relu.default", ("mg",)),
    ("h1", "aten.add.Scalar", ("h", 0.5)),
    ("g1p", "aten.add.Scalar", ("g", 0.5)),
    ("small", "aten.mul.Scalar", ("h", 0.1)),
    ("g2", "aten.slice.Tensor", ("g", 1, 0, 2)),
    ("g1", "aten.select.int", ("g", 1, 0)),
    ("chunks", "aten.chunk.default", ("h", 2, 1)),
    ("s1d", "aten.flatten.using_ints", ("h", 2)),
    ("s", "aten.transpose.int", ("s1d", 1, 2)),
    ("h3d", "aten.unsqueeze.default", ("h", 1)),
    ("pooled", "aten.mean.dim", ("h", [2, 3])),
    ("mv", "aten.linear.default", ("pooled", "wv")),
    ("v", "aten.relu.default", ("mv",)),
    ("bit", "aten.gt.Scalar", ("s", 0.3)),
    ("chosen", "aten.argmax.default", ("s", -1)),
    ("v3", "aten.slice.Tensor", ("v", 1, 0, 3)),
    ("complex", "aten.complex.default", ("h", "g")),
    ("pairs", "aten.unflatten.int", ("h", 3, [4, 2])),
    ("h1p", "aten.add.Scalar", ("h", 1.0)),
    ("one", "aten.select.int", ("v", 0, 0)),
]


def refs(value, names):
    if isinstance(value, str) and value in names:
        return Ref(value)
    if isinstance(value, (list, tuple)):
        return type(value)(refs(item, names) for item in value)
    return value


def network(op: str, arguments: tuple, levels: int) -> CapturedNetwork:
    """conv - ReLU - the operation - linear - ReLU - linear, as a captured network."""
    fixed = constants()
    names = {"x", *fixed, *(name for name, _, _ in BEFORE)}
    arguments = tuple(levels if a == "LEVELS" else a for a in arguments)
    *arguments, by_name = (*arguments, {}) if not isinstance(arguments[-1], dict) else arguments
    nodes = [Node(name, kind, refs(args, names), {}, name) for name, kind, args in BEFORE]
    nodes.append(Node("y", op, refs(tuple(arguments), names), by_name, "y"))
    y = Interpreter(Program(("x",), tuple(nodes), Ref("y"))).run(fixed, [X])
    last = "y"
    if not isinstance(y, torch.Tensor):
        nodes.append(Node("first", "aten.getitem", (Ref("y"), 0)))
        y, last = y[0], "first"
    if y.dtype != torch.float32:
        nodes.append(Node("float", "aten.to.dtype", (Ref(last), torch.float32)))
        last = "float"
    width = y.numel() // 6 if y.ndim and y.numel() % 6 == 0 else y.numel()
    rows_out = 6 if width * 6 == y.numel() else 1
    g = torch.Generator().manual_seed(5)
    fixed["wa"] = torch.randn(7, width, generator=g) / width**0.5
    fixed["wb"] = torch.randn(3, 7, generator=g)
    nodes += [
        Node("flat", "aten.reshape.default", (Ref(last), [rows_out, width])),
        Node("z", "aten.linear.default", (Ref("flat"), Ref("wa"))),
        Node("r", "aten.relu.default", (Ref("z"),), {}, "r"),
        Node("out", "aten.linear.default", (Ref("r"), Ref("wb"))),
    ]
    program = Program(("x",), tuple(nodes), [Ref("out"), Ref(last)])
    return CapturedNetwork(Captured(program, fixed, {})).eval()


def error(found, wanted) -> float:
    gap = sum(float((a - b).double().square().sum()) for a, b in zip(found, wanted, strict=True))
    return (gap / max(1e-12, sum(float(b.double().square().sum()) for b in wanted))) ** 0.5


def converted(model, timesteps, **options):
    return snnconvert.convert(
        model, timesteps, calibration=[(X,)], bias_correction=False, **options
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", CASES)
def test_error_goes_to_zero_around_every_operation(op):
    few, many = network(op, CASES[op], 4), network(op, CASES[op], 256)
    with torch.no_grad():
        wanted = CapturedNetwork.forward(network(op, CASES[op], 1 << 16), X)
    coarse = error(converted(few, 4, simulate="counts")(X), wanted)
    fine = error(converted(many, 256, simulate="counts", threshold="max")(X), wanted)
    assert fine < 0.02, (coarse, fine)
    assert fine <= coarse + 1e-6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", [*CASES, *JUMPS])
def test_spiking_network_is_its_quantised_ann_around_every_operation(op):
    model = network(op, {**CASES, **JUMPS}[op], 3)
    snn = converted(model, 3)
    wanted = snn.quantized_ann()(X)
    for options in ({}, {"firing": "deferred"}, {"simulate": "counts"}):
        found = snn.with_config(**options)(X)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True)), options


def test_every_rule_has_a_case():
    static = {op for op, rule in RULES.items() if rule.kind in ("static", "refused")}
    missing = set(RULES) - static - set(CASES) - set(JUMPS)
    assert not missing


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "op",
    [
        "aten.silu.default",
        "aten.max_pool2d.default",
        "aten.softmax.int",
        "aten.group_norm.default",
        "aten.mul.Tensor",
        "aten.cat.default",
        "aten.batch_norm.default",
        "aten.index.Tensor",
    ],
)
@pytest.mark.parametrize("firing", ["immediate", "deferred"])
def test_plain_simulation_agrees(op, firing):
    """Potentials added up spike by spike differ by single spikes at a firing boundary only."""
    snn = converted(network(op, CASES[op], 4), 4, firing=firing)
    run = snn.run(X, record="spikes")
    plain = PlainSimulation(snn, forced=run.trains).run(X, steps=run.steps)
    assert plain.mismatch_distance < 1e-3
    for found, wanted in zip(plain.output, run.output, strict=True):
        assert torch.allclose(found, wanted, atol=1e-3)


def test_moved_spikes_stay_spikes():
    assert all(RULES[op].moves for op in MOVES)
