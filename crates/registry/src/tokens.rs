//! What registries granted us, for as long as it lasts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use layerkeeper_core::{Digest, Repository};

use crate::secret::Secret;

const MOST: usize = 256;

/// A grant holds for the repository that it was given for, and for the credentials that were shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) repository: Repository,
    pub(crate) credential: Option<Digest>,
}

/// The value of an `Authorization` header that worked.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) authorization: Secret,
    /// None: as long as the credentials stay the same.
    pub(crate) until: Option<Instant>,
}

/// Grants by repository and credentials.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    grants: Mutex<HashMap<Key, Grant>>,
}

impl Tokens {
    pub(crate) fn get(&self, key: &Key) -> Option<Secret> {
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.get(key)?;
        grant.until.is_none_or(|until| Instant::now() < until).then(|| grant.authorization.clone())
    }

    pub(crate) fn put(&self, key: Key, grant: Grant) {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= MOST {
            let now = Instant::now();
            grants.retain(|_, grant| grant.until.is_some_and(|until| now < until));
            if grants.len() >= MOST {
                grants.clear();
            }
        }
        grants.insert(key, grant);
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// How long to use a token that its server says is good for so many seconds: a tenth less, for clocks and the way; a
/// minute where the server does not say (the token specification's default), an hour at most.
pub(crate) fn lifetime(expires_in: Option<u64>) -> Duration {
    let seconds = expires_in.unwrap_or(60).min(3600);
    Duration::from_secs(seconds - seconds / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_for_less_than_it_lasts() {
        assert_eq!(lifetime(Some(300)), Duration::from_secs(270));
        assert_eq!(lifetime(None), Duration::from_secs(54));
        assert_eq!(lifetime(Some(u64::MAX)), Duration::from_secs(3240));
        assert_eq!(lifetime(Some(0)), Duration::ZERO);
    }

    #[test]
    fn what_ran_out_or_was_granted_to_others_is_not_given() {
        let tokens = Tokens::default();
        let key = |user: &[u8]| Key { repository: "r.io/a".parse().unwrap(), credential: Some(Digest::of(user)) };
        let grant = |until| Grant { authorization: Secret::new("Bearer t"), until };
        tokens.put(key(b"a"), grant(None));
        assert!(tokens.get(&key(b"a")).is_some() && tokens.get(&key(b"b")).is_none());
        tokens.put(key(b"a"), grant(Some(Instant::now())));
        assert!(tokens.get(&key(b"a")).is_none());
        (0..2 * MOST).for_each(|n| tokens.put(key(&n.to_le_bytes()), grant(None)));
        assert!(tokens.grants.lock().unwrap().len() <= MOST);
    }
}
