//! The same work on quinn and on noq, whose interfaces are alike.

/// Bytes handed to a stream at a time.
pub(crate) const PIECE: usize = 64 << 10;
/// Bytes of a small question and of its answer.
pub(crate) const SMALL: usize = 64;

macro_rules! stack {
    ($name:ident, $quic:ident) => {
        pub(crate) mod $name {
            use std::sync::Arc;

            use bytes::Bytes;
            use $quic::{Connection, Endpoint, RecvStream, SendStream, VarInt};

            use super::{PIECE, ReadChunks as _, SMALL};

            /// Accepts everything: swallows one-way streams, echoes on the others.
            pub(crate) fn serve(endpoint: Endpoint) {
                tokio::spawn(async move {
                    while let Some(incoming) = endpoint.accept().await {
                        let Ok(connecting) = incoming.accept() else { continue };
                        tokio::spawn(async move {
                            // Early streams too, and without waiting for the handshake.
                            let Ok((connection, _)) = connecting.into_0rtt() else { return };
                            tokio::spawn(swallow_all(connection.clone()));
                            echo_all(connection).await;
                        });
                    }
                });
            }

            async fn swallow_all(connection: Connection) {
                while let Ok(stream) = connection.accept_uni().await {
                    tokio::spawn(swallow(stream));
                }
            }

            async fn swallow(mut stream: RecvStream) {
                let mut pieces: [Bytes; 32] = std::array::from_fn(|_| Bytes::new());
                while let Ok(Some(_)) = stream.read_chunks_of(&mut pieces).await {}
            }

            async fn echo_all(connection: Connection) {
                while let Ok((sender, receiver)) = connection.accept_bi().await {
                    tokio::spawn(echo(sender, receiver));
                }
            }

            async fn echo(mut sender: SendStream, mut receiver: RecvStream) {
                if let Ok(question) = receiver.read_to_end(SMALL).await {
                    let _ = sender.write_all(&question).await;
                    let _ = sender.finish();
                }
            }

            /// Sends `total` bytes over `streams` streams at once, until all are acknowledged.
            pub(crate) async fn send(connection: &Connection, streams: usize, total: usize) {
                let piece = Bytes::from(vec![7; PIECE]);
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..streams {
                    let (connection, piece) = (connection.clone(), piece.clone());
                    tasks.spawn(async move {
                        let mut stream = connection.open_uni().await.expect("a stream");
                        let mut left = total / streams;
                        while left > 0 {
                            let piece = piece.slice(..piece.len().min(left));
                            left -= piece.len();
                            stream.write_chunk(piece).await.expect("the peer reads");
                        }
                        stream.finish().expect("it is open");
                        stream.stopped().await.expect("the peer lives");
                    });
                }
                while let Some(done) = tasks.join_next().await {
                    done.expect("no sender fails");
                }
            }

            /// Asks `total` questions, `at_once` at a time.
            pub(crate) async fn ask_many(connection: &Connection, total: usize, at_once: usize) {
                let left = Arc::new(std::sync::atomic::AtomicUsize::new(total));
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..at_once {
                    let (connection, left) = (connection.clone(), left.clone());
                    tasks.spawn(async move {
                        let one = |left: usize| left.checked_sub(1);
                        let order = std::sync::atomic::Ordering::Relaxed;
                        while left.fetch_update(order, order, one).is_ok() {
                            ask(&connection).await;
                        }
                    });
                }
                while let Some(done) = tasks.join_next().await {
                    done.expect("no asker fails");
                }
            }

            /// Asks once, on a stream of its own.
            pub(crate) async fn ask(connection: &Connection) {
                let (mut sender, mut receiver) = connection.open_bi().await.expect("a stream");
                sender.write_all(&[1; SMALL]).await.expect("the peer reads");
                sender.finish().expect("it is open");
                assert_eq!(receiver.read_to_end(SMALL).await.expect("an answer").len(), SMALL);
            }

            /// Done with it, without waiting.
            pub(crate) fn close(connection: &Connection) {
                connection.close(VarInt::from_u32(0), b"");
            }
        }
    };
}

/// Reading several pieces at a time, which the two stacks name differently.
trait ReadChunks {
    async fn read_chunks_of(&mut self, pieces: &mut [bytes::Bytes; 32]) -> Result<Option<usize>, ()>;
}

impl ReadChunks for quinn::RecvStream {
    async fn read_chunks_of(&mut self, pieces: &mut [bytes::Bytes; 32]) -> Result<Option<usize>, ()> {
        self.read_chunks(pieces).await.map_err(drop)
    }
}

impl ReadChunks for noq::RecvStream {
    async fn read_chunks_of(&mut self, pieces: &mut [bytes::Bytes; 32]) -> Result<Option<usize>, ()> {
        self.read_many_chunks(pieces).await.map_err(drop)
    }
}

stack!(on_quinn, quinn);
stack!(on_noq, noq);
