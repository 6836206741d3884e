//! What is wrong with an answer.

use thiserror::Error;

use crate::chunked::BadChunk;

/// The largest head of an answer that is taken.
pub const MAX_ANSWER_HEAD_BYTES: usize = 64 * 1024;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The head is no head of an answer.
    #[error("an answer whose head can't be read: {0}")]
    Head(#[from] httparse::Error),
    /// The status is no number from 100 to 999.
    #[error("an answer without a valid status")]
    Status,
    /// The head is larger than [`MAX_ANSWER_HEAD_BYTES`].
    #[error("an answer whose head is larger than {MAX_ANSWER_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// Several lengths, one that is no number, or a length and a transfer coding.
    #[error("an answer that contradicts itself about its length")]
    Framing,
    /// A transfer coding other than `chunked`.
    #[error("an answer in a transfer coding that nobody asked for")]
    TransferCoding,
    /// The chunked body is broken.
    #[error("an answer in broken chunks: {0}")]
    Chunk(#[from] BadChunk),
    /// The connection ended before the answer did.
    #[error("an answer that was cut off")]
    CutOff,
    /// An upgrade that nobody asked for.
    #[error("an answer that switches protocols unasked")]
    Unasked,
}
