//! The one error of this crate: a stable kind and a sentence for a person.

use std::fmt;

/// What went wrong, in the words that the JavaScript side uses for `error.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not an image, damaged, or larger than can be handled; a tensor of the wrong shape or length.
    Image,
    /// The model is not ONNX, is damaged, or does not match its manifest.
    Model,
    /// Operators that are not there, a network that is no image classifier, a method that this network can't serve.
    Unsupported,
    /// A class, layer, method, colormap or option value that does not exist.
    Target,
    /// The asked-for device can't be had, was lost, or ran out of memory.
    Device,
    /// The caller asked to stop.
    Abort,
}

impl ErrorKind {
    /// The name that JavaScript sees, such as `ModelError`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Image => "ImageError",
            ErrorKind::Model => "ModelError",
            ErrorKind::Unsupported => "UnsupportedError",
            ErrorKind::Target => "TargetError",
            ErrorKind::Device => "DeviceError",
            ErrorKind::Abort => "AbortError",
        }
    }
}

/// An error of this crate: its message says what is wrong, where, and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` with a sentence for a person, which a file's names can't make longer than a screen.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: clipped(message.into(), MAX_MESSAGE) }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The most bytes of a sentence.
const MAX_MESSAGE: usize = 4000;

/// The most bytes of a name in a sentence.
#[cfg(feature = "cpu")]
const MAX_NAME: usize = 200;

/// A name from a file, as it is shown in a sentence.
#[cfg(feature = "cpu")]
pub(crate) fn shortened(name: &str) -> String {
    clipped(name.into(), MAX_NAME)
}

/// The beginning of a text, and how much is left out.
fn clipped(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = text.floor_char_boundary(most);
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("… ({more} more bytes)"));
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
