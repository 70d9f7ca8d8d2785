//! What the program around this crate gives it.

use std::cell::Cell;
use std::pin::Pin;

/// Waits until messages that arrived meanwhile have been taken up.
pub type NextTurn = fn() -> Pin<Box<dyn Future<Output = ()>>>;

thread_local!(static NEXT_TURN: Cell<Option<NextTurn>> = const { Cell::new(None) });

/// Lets explanations and measures on this thread wait for `hook` between two runs of the network, because the caller's wish to
/// stop may arrive only then: where there is one event loop, as in a browser's worker.
pub fn set_next_turn(hook: NextTurn) {
    NEXT_TURN.set(Some(hook));
}

/// Waits for the hook, if there is one.
pub(crate) async fn next_turn() {
    if let Some(hook) = NEXT_TURN.get() {
        hook().await;
    }
}
