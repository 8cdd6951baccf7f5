from pathlib import Path
from types import SimpleNamespace

import jax

from jaxcnn.train.timelines import Event, read_trace, self_seconds

END, BEGIN, TASK = range(3)


def span(start, end, line, number, operation):
    begin = Event(start, BEGIN, start - end, line, number, operation)
    return [begin, begin._replace(time=end, order=END)]


def test_time_of_what_is_inside_does_not_count_twice():
    """A loop from 0 to 10 s with a body from 2 to 5 s, in which nothing is from 3 to 4 s."""
    events = [
        *span(0, 10e9, 0, 1, "while"),
        *span(2e9, 5e9, 0, 2, "body"),
        *span(3e9, 4e9, 0, 3, None),
    ]
    assert dict(self_seconds(events)) == {"while": 7, "body": 2}
    assert dict(self_seconds(reversed(events))) == {"while": 7, "body": 2}


def test_lines_at_work_together_share_the_time():
    events = [*span(0, 4e9, 0, 1, "a"), *span(2e9, 6e9, 1, 1, "b"), *span(9e9, 10e9, 1, 2, "b")]
    assert dict(self_seconds(events)) == {"a": 3, "b": 4}


def test_tasks_count_for_what_handed_them_out():
    """A convolution that lasts a second leaves the work to the pool, in a task of a task."""
    events = [
        *span(0, 1e9, 0, 1, "conv"),
        Event(0.5e9, TASK, 0, 0, 7),
        *span(2e9, 6e9, 1, ~7, 7),
        Event(3e9, TASK, 0, 1, 8),
        *span(6e9, 9e9, 2, ~8, 8),
        *span(8e9, 9e9, 2, 5, "add"),
        *span(9e9, 10e9, 2, ~99, 99),  # of before the trace
    ]
    assert dict(self_seconds(events)) == {"conv": 7, "add": 1}


def happening(name, start, length, **stats):
    return SimpleNamespace(name=name, start_ns=start, duration_ns=length, stats=stats.items())


def trace_of(monkeypatch, planes):
    lines = {
        plane: [SimpleNamespace(name=name, events=events) for name, events in content.items()]
        for plane, content in planes.items()
    }
    planes = [SimpleNamespace(name=name, lines=content) for name, content in lines.items()]
    trace = SimpleNamespace(planes=planes)
    monkeypatch.setattr(jax.profiler, "ProfileData", SimpleNamespace(from_file=lambda path: trace))
    spent, calls = read_trace(Path("trace.xplane.pb"))
    return dict(spent), dict(calls)


def test_the_streams_of_a_gpu(monkeypatch):
    """Lines that sum the streams up, the other GPUs and the host are left out."""
    kernels = [
        happening("sm90_xmma_fprop", 0, 2e9, hlo_op="cudnn-conv.1"),
        happening("loop_add_fusion", 2e9, 1e9, hlo_op="loop_add_fusion"),
        happening("MemcpyD2D", 3e9, 1e9),
    ]
    again = {"XLA Modules": [happening("jit_step", 0, 9e9)]}
    first = {"Stream #13(Compute)": kernels, **again}
    host = {"python": [happening("step", 0, 9e9, hlo_op="call")]}
    planes = {"/host:CPU": host, "/device:GPU:1": first, "/device:GPU:0": first}
    spent, calls = trace_of(monkeypatch, planes)
    assert spent == {"cudnn-conv.1": 2, "loop_add_fusion": 1, "MemcpyD2D": 1}
    assert calls == {"cudnn-conv.1": 1, "loop_add_fusion": 1, "MemcpyD2D": 1}


def test_the_operations_of_a_tpu(monkeypatch):
    step = [happening("%fusion.3 = f32[8]{0:T(256)} fusion(%p), kind=kLoop", 0, 2e9)]
    lines = {"XLA Ops": step, "Steps": [happening("1", 0, 2e9)]}
    assert trace_of(monkeypatch, {"/device:TPU:0": lines}) == ({"fusion.3": 2}, {"fusion.3": 1})


def test_the_threads_of_a_cpu(monkeypatch):
    """The event of a convolution ends when its work has been handed to the pool."""
    main = [
        happening("ThunkExecutor::Execute", 0, 4e9),
        happening("conv.1__onednn$convolution", 1e9, 1e9, hlo_op="conv.1__onednn$convolution"),
        happening("ThreadpoolListener::Record", 1.5e9, 0, _p=3),
        happening("end: conv.1__onednn$convolution", 3e9, 1),
    ]
    pool = [
        happening("ThreadpoolListener::StopRegion", 0.5e9, 0),  # began before the trace
        happening("ThreadpoolListener::StartRegion", 2e9, 0, _c=3),
        happening("ThreadpoolListener::StopRegion", 5e9, 0),
    ]
    spent, calls = trace_of(monkeypatch, {"/host:CPU": {"tf_XLA/1": main, "tf_XLA/2": pool}})
    assert spent == {"conv.1": 4}
    assert calls == {"conv.1": 1}
