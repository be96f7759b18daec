//! The specification's own vector, and every way not to be believed.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;

// from the reference libraries of Standard Webhooks (all languages share this vector)
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const VECTOR_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const VECTOR_SECONDS: i64 = 1_614_265_330;
const VECTOR_BODY: &[u8] = br#"{"test": 2432232314}"#;
const VECTOR_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const NOW: Timestamp = Timestamp(VECTOR_SECONDS * 1000);

fn secrets(file: &str) -> Secrets {
    Secrets::parse(file.as_bytes()).unwrap()
}

fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)] {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn vector() -> HeaderMap {
    headers(VECTOR_ID, &VECTOR_SECONDS.to_string(), VECTOR_SIGNATURE)
}

fn verdict(headers: &HeaderMap) -> Result<Verified, SignatureError> {
    verify(headers, VECTOR_BODY, NOW, None, &secrets(SECRET))
}

#[test]
fn the_specifications_vector_holds_both_ways() {
    assert_eq!(sign(VECTOR_ID, VECTOR_SECONDS, VECTOR_BODY, secrets(SECRET).newest()), VECTOR_SIGNATURE);
    assert_eq!(verdict(&vector()).unwrap(), Verified { id: VECTOR_ID.to_owned(), sent: NOW });
}

#[test]
fn one_of_several_signatures_and_one_of_two_secrets_is_enough() {
    let two = secrets(&format!("new-new-new-new-new\n{SECRET}\n"));
    assert!(verify(&vector(), VECTOR_BODY, NOW, None, &two).is_ok());
    let several = format!("v1a,xyz v1,AAAA {VECTOR_SIGNATURE} v1,AAAA");
    assert!(verdict(&headers(VECTOR_ID, &VECTOR_SECONDS.to_string(), &several)).is_ok());
    let other = secrets("another secret altogether");
    assert_eq!(verify(&vector(), VECTOR_BODY, NOW, None, &other), Err(SignatureError::Mismatch));
}

#[test]
fn whatever_was_changed_after_signing_is_not_believed() {
    use SignatureError as E;
    let seconds = VECTOR_SECONDS.to_string();
    let later = (VECTOR_SECONDS + 1).to_string();
    assert_eq!(verdict(&headers("msg_other", &seconds, VECTOR_SIGNATURE)), Err(E::Mismatch));
    assert_eq!(verdict(&headers(VECTOR_ID, &later, VECTOR_SIGNATURE)), Err(E::Mismatch));
    let other_body = verify(&vector(), br#"{"test": 2432232315}"#, NOW, None, &secrets(SECRET));
    assert_eq!(other_body, Err(E::Mismatch));
}

#[test]
fn headers_that_are_missing_doubled_or_malformed_are_named() {
    use SignatureError as E;
    for name in [ID, TIMESTAMP, SIGNATURE] {
        let mut without = vector();
        without.remove(&name);
        assert_eq!(verdict(&without), Err(E::Missing(name.clone())));
        let mut doubled = vector();
        doubled.append(&name, doubled[&name].clone());
        assert_eq!(verdict(&doubled), Err(E::Repeated(name)));
    }
    let seconds = VECTOR_SECONDS.to_string();
    for id in ["", "a.b", "a b", &"x".repeat(257)] {
        assert_eq!(verdict(&headers(id, &seconds, VECTOR_SIGNATURE)), Err(E::Id), "{id:?}");
    }
    for time in ["", "soon", "-1", "+1614265330", "1614265330.5", "99999999999999999999"] {
        assert_eq!(verdict(&headers(VECTOR_ID, time, VECTOR_SIGNATURE)), Err(E::Timestamp), "{time:?}");
    }
    for signature in ["", "v2,abc", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
        assert_eq!(verdict(&headers(VECTOR_ID, &seconds, signature)), Err(E::NoV1), "{signature:?}");
    }
    assert_eq!(verdict(&headers(VECTOR_ID, &seconds, "v1,")), Err(E::Mismatch));
}

#[test]
fn five_minutes_either_way_and_not_a_millisecond_more() {
    let at = |ms: i64, newest: Option<Timestamp>| {
        verify(&vector(), VECTOR_BODY, Timestamp(NOW.0 + ms), newest, &secrets(SECRET)).is_ok()
    };
    assert!(at(300_000, None) && at(-300_000, None));
    assert!(!at(300_001, None) && !at(-300_001, None));
    // the clock was set back by an hour: what was accepted since still rules
    let newest = Some(Timestamp(NOW.0 + 300_001));
    assert!(!at(-3_600_000, newest));
    let refusal = verify(&vector(), VECTOR_BODY, Timestamp(0), newest, &secrets(SECRET)).unwrap_err();
    assert!(refusal.to_string().contains("2021-02-25T15:07:10Z"), "{refusal}");
    // and a clock that runs ahead of everything stored rules as well
    assert!(!at(300_001, Some(NOW)));
}

proptest! {
    #[test]
    fn what_was_signed_is_believed_and_any_flipped_bit_is_not(
        id in "[!-\\-/-~]{1,40}", seconds in 0i64..4_000_000_000, body: Vec<u8>, key in "[a-z]{16,40}", at: prop::sample::Index,
    ) {
        let secrets = secrets(&key);
        let signature = sign(&id, seconds, &body, secrets.newest());
        let now = Timestamp(seconds * 1000);
        let good = headers(&id, &seconds.to_string(), &signature);
        prop_assert!(verify(&good, &body, now, None, &secrets).is_ok());
        if !body.is_empty() {
            let mut other = body.clone();
            other[at.index(body.len())] ^= 1;
            prop_assert_eq!(verify(&good, &other, now, None, &secrets), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn nothing_made_up_is_believed(
        id in "[ -~]{0,20}", time in "[ -~]{0,12}|16142653[0-9]{2}", signature in "[ -~]{0,60}|v1,[A-Za-z0-9+/]{43}=", body: Vec<u8>,
    ) {
        prop_assert!(verify(&headers(&id, &time, &signature), &body, NOW, None, &secrets(SECRET)).is_err());
    }
}
