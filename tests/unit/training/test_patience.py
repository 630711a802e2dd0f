import pytest
from speechmodel_api.training_spec import EarlyStop, ReduceOnPlateau
from speechmodel_training.patience import Patience
from speechmodel_training.schedule import Segment
from speechmodel_training.state import LineageFacts, RunningEpoch, TrainingState

STOP = EarlyStop(patience=3, min_delta=0.1)
PLATEAU = ReduceOnPlateau(patience=2, min_delta=0.1, factor=0.5)


def trained(facts: LineageFacts, *dev_losses: float | None) -> TrainingState:
    return after(TrainingState(facts=facts, attempt=1, target="11111111"), *dev_losses)


def after(state: TrainingState, *dev_losses: float | None) -> TrainingState:
    for loss in dev_losses:
        running = RunningEpoch(segments=(Segment(batch_size=1, batches_done=1),), clips=1, loss_sum=1.0)
        state = state.model_copy(update={"running": running})
        state = state.after_epoch(dev_loss=loss, early_stop=STOP, plateau=PLATEAU)
    return state


@pytest.mark.parametrize(
    "dev_losses, waited, reductions, stops",
    [
        ((), 0, 0, False),
        ((5.0, 4.0, 3.0, 2.0), 0, 0, False),
        ((5.0, 4.95, 4.85), 0, 0, False),  # small steps count together
        ((5.0, 4.95, 4.95), 2, 1, False),
        ((5.0, 5.0, 5.0, 5.0), 3, 1, True),
        ((5.0, 5.0, 5.0, 4.0), 0, 1, False),
        ((5.0, 5.0, 5.0, 5.0, 5.0), 4, 2, True),
        ((None, None, None, None, None), 0, 0, False),
    ],
    ids=str,
)
def test_epochs_without_a_lower_dev_loss_reduce_the_rate_and_end_training(
    facts: LineageFacts, dev_losses: tuple[float | None, ...], waited: int, reductions: int, stops: bool
) -> None:
    state = trained(facts, *dev_losses)
    assert (state.early_stop.epochs, state.reductions, state.stops_early(STOP)) == (waited, reductions, stops)
    assert not state.stops_early(None)


def test_another_target_waits_again_for_a_loss_below_the_lowest(facts: LineageFacts) -> None:
    state = trained(facts, 5.0, 5.0, 5.0, 5.0).towards("11111111", 1, "a")
    assert state.towards("11111111", 2, "a").stops_early(STOP)
    raised = state.towards("33333333", 2, "a")
    assert not raised.stops_early(STOP)
    assert (raised.early_stop, raised.reductions) == (Patience(best=5.0, epochs=0), 1)


def test_dev_losses_with_another_augmentation_do_not_compare(facts: LineageFacts) -> None:
    before = trained(facts, 3.0, 2.0, 2.5)
    same = before.towards("11111111", 2, "plain")  # of a release that did not note the augmentation
    assert (same.best_dev_loss, same.early_stop) == (2.0, before.early_stop)
    edited = same.towards("22222222", 3, "with babble")
    assert (edited.best_dev_loss, edited.early_stop, edited.plateau) == (None, Patience(), Patience())
    later = after(edited, 9.0, 8.0)
    assert (later.best_dev_loss, later.early_stop.epochs, later.reductions) == (8.0, 0, 0)
    assert later.towards("22222222", 4, "with babble").best_dev_loss == 8.0
    assert later.towards("22222222", 4, "of a newer release").best_dev_loss is None


def test_dev_losses_of_an_earlier_release_compare_only_for_the_same_target(facts: LineageFacts) -> None:
    before = trained(facts, 3.0, 2.0)
    assert before.towards("11111111", 2, "now").best_dev_loss == 2.0
    assert before.towards("22222222", 2, "now").best_dev_loss is None


def test_what_was_measured_under_a_list_that_came_back_does_not_count(facts: LineageFacts) -> None:
    state = after(trained(facts).towards("11111111", 1, "a"), 2.0).towards("22222222", 2, "b")
    again = after(state, 9.0).towards("33333333", 3, "a")
    assert again.best_dev_loss is None
    assert (after(again, 2.5).best_dev_loss, again.rated_from) == (2.5, 2)
