//! The log: what happens in the node, by `tracing`, at the levels that COSYNC_LOG names.

use cs_node::api::{Problem, ProblemCode};
use cs_node::core::Event;
use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;

use crate::cli::live::Above;

const VARIABLE: &str = "COSYNC_LOG";

/// Begins to log to standard error, at `level` unless COSYNC_LOG says otherwise.
pub(crate) fn begin(level: &str, bar: Option<ProgressBar>) -> Result<(), Problem> {
    let wanted = std::env::var(VARIABLE).ok().filter(|v| !v.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(level)).map_err(|error| {
        Problem::new(
            ProblemCode::Usage,
            format!("{VARIABLE} is `{}`: {error}.", wanted.unwrap_or_default()),
            "Set it to error, warn, info, debug or trace, or to `target=level` with commas between.",
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || Above(bar.clone()));
    // Only a second call fails, and one log is enough.
    let _ = log.try_init();
    Ok(())
}

/// Logs what the node reports.
pub(crate) fn event(event: &Event) {
    match event {
        Event::PeerUp(peer) => tracing::info!(%peer, "connected"),
        Event::PeerDown(peer) => tracing::info!(%peer, "disconnected"),
        Event::Fault { peer, what } => tracing::warn!(%peer, what, "a peer broke the protocol"),
        Event::MemberJoined { space, member } => tracing::info!(%space, %member, "a device joined"),
        Event::CodeBurned { peer } => tracing::warn!(%peer, "a wrong guess burned a code"),
        Event::DeletionsHeld { space, count } => tracing::warn!(%space, count, "deletions are held back"),
        other => tracing::info!(?other, "event"),
    }
}

/// What of it a person at the terminal should see.
pub(crate) fn notice(event: &Event) -> Option<String> {
    Some(match event {
        Event::MemberJoined { member, .. } => format!("{} joined.", member.short()),
        Event::CodeBurned { peer } => {
            format!(
                "{} guessed a code wrongly; the code is void. `cosync invite` makes another.",
                peer.short()
            )
        }
        Event::DeletionsHeld { count, .. } => {
            format!(
                "{count} deletions by others are held back: `cosync deletions accept` or `restore` decides."
            )
        }
        _ => return None,
    })
}
