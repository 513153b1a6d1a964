"""Ctrl-C at any step costs nothing but the epoch it fell into."""

STEPS = 2  # per epoch: 20 training photographs, 8 per batch, rounded


def test_interrupted_run_ends_as_an_undisturbed_one(new_study, finished, regaze, tiny, files_of, count_steps):
    """Stopped in the middle of training and again of fine-tuning, `run` ends with the very same bytes."""
    folder = new_study()
    done = count_steps(stop=2 * STEPS)  # in the second of two epochs
    assert regaze("run", folder, *tiny["run"]).code == 130
    assert len(done) == 2 * STEPS - 1
    assert not (folder / "models" / "multi-scale" / "fold0" / "model.json").exists()
    assert not list(folder.rglob("model.safetensors"))

    done = count_steps(stop=STEPS + 2 * STEPS)  # one epoch of training to go, then the second of fine-tuning
    assert regaze("run", folder).code == 130
    assert len(done) == 3 * STEPS - 1
    assert (folder / "models" / "multi-scale" / "fold0" / "model.json").is_file()
    assert not (folder / "models" / "multi-scale-finetuned" / "fold0" / "model.json").exists()

    done = count_steps()
    outcome = regaze("run", folder)
    assert outcome.code == 0, outcome.err
    assert len(done) == STEPS + 2 * STEPS, "one epoch of fine-tuning to go, and the control"
    assert {name: value[0] for name, value in files_of(folder / "models", "*.safetensors").items()} == {
        name: value[0] for name, value in files_of(finished / "models", "*.safetensors").items()
    }


def test_interruption_between_epochs(new_study, finished, regaze, tiny, monkeypatch, open_quietly):
    """Stopped by the progress bar right behind a checkpoint, training goes on with the next epoch."""
    from regaze.console import Voice

    folder = new_study()
    regaze("init", folder, "--data", tiny["data"], "--size", "64")
    words = ["train", folder, *tiny["network"], *tiny["training"], *tiny["machine"]]
    original = Voice.progress

    def progress(self, label):
        context = original(self, label)
        feed = context.__enter__()

        class Stops:
            def __enter__(self):
                return self.feed

            def __exit__(self, *error):
                return context.__exit__(*error)

            def feed(self, done, total):
                feed(done, total)
                if label.startswith("training") and done == 1:
                    raise KeyboardInterrupt

        return Stops()

    with monkeypatch.context() as patch:
        patch.setattr(Voice, "progress", progress)
        assert regaze(*words).code == 130
    left = [path.name for path in (folder / "models" / "multi-scale" / "fold0").iterdir()]
    assert left == ["checkpoint.safetensors"]
    assert regaze(*words).code == 0
    weights = "models/multi-scale/fold0/model.safetensors"
    assert (folder / weights).read_bytes() == (finished / weights).read_bytes()
    assert not (folder / "models" / "multi-scale" / "fold0" / "checkpoint.safetensors").exists()


def test_two_processes_do_not_make_one_model(new_study, regaze, tiny, open_quietly):
    """While another process makes a model, `train` of that name says so and leaves everything; another name works."""
    from regaze.models.options import MachineOptions
    from regaze.study.steps.fold_model import FoldModel

    folder = new_study()
    regaze("init", folder, "--data", tiny["data"], "--size", "64")
    words = ["train", folder, *tiny["network"], *tiny["training"], *tiny["machine"]]
    with FoldModel(open_quietly(folder), "multi-scale", 0, "", MachineOptions()).making():
        refused = regaze(*words)
        assert refused.code == 1
        assert "Another process is making 'multi-scale' (fold 0)" in refused.err
        assert not (folder / "models" / "multi-scale").exists()
        assert regaze(*words, "--name", "other").code == 0
    assert regaze(*words).code == 0
