//! Makes a sequence that fails shorter: half of it is left out, then a quarter, at last single steps. One step at a time
//! from the start, as a vector is shrunk, would take hours.

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Sequences of this strategy's steps, that long.
#[derive(Debug, Clone)]
pub struct Sequences<S> {
    pub step: S,
    pub steps: usize,
}

/// A sequence, with what may be left out of it next.
pub struct Sequence<T> {
    steps: Vec<T>,
    /// How many are to be left out together.
    chunk: usize,
    /// Where the next chunk lies.
    at: usize,
    /// What was left out last, to be put back where it turns out to be needed.
    out: Vec<T>,
}

impl<S: Strategy> Strategy for Sequences<S>
where
    S::Value: Clone,
{
    type Tree = Sequence<S::Value>;
    type Value = Vec<S::Value>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut steps = Vec::new();
        for _ in 0..self.steps {
            steps.push(self.step.new_tree(runner)?.current());
        }
        Ok(Sequence { steps, chunk: self.steps.div_ceil(2), at: 0, out: Vec::new() })
    }
}

impl<T: Clone + std::fmt::Debug> ValueTree for Sequence<T> {
    type Value = Vec<T>;

    fn current(&self) -> Vec<T> {
        self.steps.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.at >= self.steps.len() {
            if self.chunk <= 1 {
                return false;
            }
            (self.at, self.chunk) = (0, self.chunk.div_ceil(2));
        }
        let end = self.steps.len().min(self.at + self.chunk);
        self.out = self.steps.drain(self.at..end).collect();
        !self.out.is_empty()
    }

    fn complicate(&mut self) -> bool {
        let back = std::mem::take(&mut self.out);
        let next = self.at + back.len();
        self.steps.splice(self.at..self.at, back);
        self.at = next;
        self.simplify()
    }
}
