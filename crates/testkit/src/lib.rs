//! Real parts for tests, the demo and the benchmark: private Docker Engines and registries, images without a network,
//! faults on the wire. Development only.
//!
//! Whatever is started here ends, and whatever is stored here goes, with the value that stands for it, and also when
//! the process is killed: see [`process`] and [`scratch`].

mod background;
pub mod certificate;
pub mod chain;
pub mod disk;
pub mod docker_config;
pub mod engine;
pub mod error;
pub mod eventually;
pub mod http;
pub mod image;
pub mod line;
pub mod net;
pub mod port;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod scratch;
pub mod token;
pub mod tree;

pub use certificate::{Authority, Issued};
pub use chain::{Chain, PushedChain};
pub use disk::Disk;
pub use docker_config::DockerConfig;
pub use engine::{Engine, EngineKind, EngineOptions, Engines};
pub use error::{Error, Result};
pub use eventually::{Attempt, eventually, eventually_blocking};
pub use image::{BuildCache, Image, Index, Layer, Media, Pushed, PushedLayer};
pub use line::{Line, Traits};
pub use net::Net;
pub use port::free_port;
pub use process::{Process, Program};
pub use proxy::{Fault, Passed, Proxy};
pub use registry::{Access, Agent, Auth, Mark, Registry, TlsFront};
pub use scratch::Scratch;
pub use token::{TokenRequest, TokenServer};
