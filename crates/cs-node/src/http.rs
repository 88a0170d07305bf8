//! The local API: HTTP/1.1 and JSON on a Unix socket that only its owner can open.
//!
//! `POST /v1` takes a [`Request`] and gives a [`Reply`], or a [`Problem`] as `application/problem+json`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

use crate::api::{Problem, ProblemCode, Reply, Request};
use crate::driver::Handle;

/// Largest request body in bytes: a JSON document at its bound and some.
pub const MAX_BODY: usize = 1 << 20;

/// Listens on the socket. The node holds the lock of its state directory, so a socket that is there is a dead one's.
///
/// The socket appears under its name only when nobody but its owner can open it.
///
/// # Errors
/// Whatever the file system says; `InvalidInput` for a path longer than sockets can have (about 100 bytes).
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Serves the API until the task is dropped.
pub async fn serve(listener: UnixListener, node: Handle) {
    let router = Router::new()
        .route("/v1", post(answer))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(node);
    // It ends only with the listener, which this owns.
    let _ = axum::serve(listener, router).await;
}

async fn answer(State(node): State<Handle>, body: Result<axum::body::Bytes, BytesRejection>) -> Response {
    let result = match body.map(|bytes| serde_json::from_slice::<Request>(&bytes)) {
        Ok(Ok(request)) => node.ask(request).await,
        Ok(Err(error)) => Err(Problem::new(
            ProblemCode::Usage,
            format!("Not a request: {error}."),
            "The requests are described in the documentation of `cs_node::api`.",
        )),
        Err(_) => Err(too_large()),
    };
    match result {
        Ok(reply) => Json(reply).into_response(),
        Err(problem) => {
            let mut response = (status_of(problem.code), Json(problem)).into_response();
            let kind = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
    }
}

fn status_of(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::Usage | ProblemCode::BadInvitation => StatusCode::BAD_REQUEST,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::Forbidden => StatusCode::FORBIDDEN,
        ProblemCode::NeedsDecision | ProblemCode::Folder => StatusCode::CONFLICT,
        ProblemCode::Unreachable => StatusCode::BAD_GATEWAY,
        ProblemCode::NotRunning => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Disk => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Puts a request to the node that listens on a socket.
///
/// # Errors
/// The node's [`Problem`]; [`ProblemCode::NotRunning`] when nobody listens.
pub async fn ask(socket: &Path, request: &Request) -> Result<Reply, Problem> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Problem::new(
            ProblemCode::Failed,
            format!("The socket {} belongs to another user.", socket.display()),
            "Run the command as the user whose node it is, or choose another state directory by `--home`.",
        ),
        _ => not_running(),
    })?;
    let body = serde_json::to_vec(request).map_err(|_| too_large())?;
    if body.len() > MAX_BODY {
        return Err(too_large());
    }
    let (good, body) = exchange(stream, body).await.map_err(|_| {
        Problem::new(
            ProblemCode::NotRunning,
            "The node ended before it answered.",
            "Start it again: `cosync up`. Its log says why it ended.",
        )
    })?;
    let strange = |_| {
        Problem::new(
            ProblemCode::Failed,
            "The node answered what this command does not understand.",
            "They are of different versions: `cosync down`, then `cosync up`.",
        )
    };
    if good {
        serde_json::from_slice(&body).map_err(strange)
    } else {
        Err(serde_json::from_slice(&body).map_err(strange)?)
    }
}

/// Whether a node listens on a socket.
pub async fn is_running(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

/// Sends one body and returns whether the answer is a reply, and the answer.
async fn exchange(stream: UnixStream, body: Vec<u8>) -> Result<(bool, bytes::Bytes), hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut call = hyper::Request::new(Full::new(bytes::Bytes::from(body)));
    *call.method_mut() = hyper::Method::POST;
    *call.uri_mut() = hyper::Uri::from_static("/v1");
    call.headers_mut().insert(header::HOST, HeaderValue::from_static("cosync"));
    let response = sender.send_request(call).await?;
    let good = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((good, body))
}

fn too_large() -> Problem {
    Problem::new(
        ProblemCode::Usage,
        format!("The request is larger than {} KiB.", MAX_BODY / 1024),
        "Split the document into several, or keep it as a file in the folder.",
    )
}

fn not_running() -> Problem {
    Problem::new(
        ProblemCode::NotRunning,
        "No node is running for this state directory.",
        "Start one: `cosync up`, or `cosync share DIR`. Another state directory is chosen by `--home`.",
    )
}
