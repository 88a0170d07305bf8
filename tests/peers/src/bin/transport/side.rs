//! One side of a connection: a thread, its runtime, and its CPU time.

use std::future::Future;
use std::time::{Duration, Instant};

use cs_peers::cpu_time;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

/// Runs on a thread of its own until it is dropped.
pub(crate) struct Side(mpsc::UnboundedSender<oneshot::Sender<Duration>>);

impl Side {
    /// Starts `serve`, and returns what it gives, such as an address; what it has spawned by then goes on.
    pub(crate) fn start<T, F>(serve: impl FnOnce() -> F + Send + 'static) -> (Self, T)
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let (sender, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<Duration>>();
        let (ready, given) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            runtime().block_on(async {
                ready.send(serve().await).expect("the starter waits");
                while let Some(answer) = asked.recv().await {
                    let _ = answer.send(cpu_time());
                }
            });
        });
        (Self(sender), given.recv().expect("serving starts"))
    }

    async fn cpu(&self) -> Duration {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).expect("the side lives");
        receiver.await.expect("the side lives")
    }
}

/// What some work cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) client: f64,
    pub(crate) server: f64,
}

/// Runs `work` on this thread against `server`.
pub(crate) async fn cost(server: &Side, work: impl Future<Output = ()>) -> Cost {
    let (server_began, client_began, began) = (server.cpu().await, cpu_time(), Instant::now());
    work.await;
    let (wall, client) = (began.elapsed(), cpu_time() - client_began);
    let server = server.cpu().await - server_began;
    Cost { wall: wall.as_secs_f64(), client: client.as_secs_f64(), server: server.as_secs_f64() }
}

/// A runtime on the calling thread alone.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives a runtime")
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of each part.
pub(crate) fn median_cost(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
    Cost { wall: of(|cost| cost.wall), client: of(|cost| cost.client), server: of(|cost| cost.server) }
}
