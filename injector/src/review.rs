//! What the API server asks and what it is told: AdmissionReviews (admission.k8s.io/v1), read strictly.
//!
//! Pure. Anything that is not a review of a pod's creation is a [`Malformed`], which says what is wrong with it; nesting is
//! bounded by the JSON parser (128 levels), size by the [server](super::webhook).

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use weft_inject::{Outcome, Refusal};

/// A review that is none.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("not an AdmissionReview: {0}")]
    Shape(serde_json::Error),
    #[error("apiVersion {0:?} is not admission.k8s.io/v1")]
    Version(String),
    #[error("kind {0:?} is not AdmissionReview")]
    Kind(String),
    #[error("there is no request in it")]
    NoRequest,
    #[error("request.uid is empty")]
    NoUid,
    #[error("request.namespace is empty, as that of a pod never is")]
    NoNamespace,
    #[error("a review of {0}, but only pods are injected")]
    NotAPod(String),
    #[error("a review of {0}, but pods are injected when they are created")]
    Operation(String),
    #[error("request.object is missing")]
    NoObject,
    #[error("longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not come")]
    Unread,
}

impl Malformed {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A pod that is to be created.
#[derive(Debug)]
pub struct Review {
    pub uid: String,
    pub namespace: String,
    pub pod: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kind {
    group: String,
    version: String,
    kind: String,
}

impl Review {
    /// What the body asks.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(|error| match error.is_data() {
            true => Malformed::Shape(error),
            false => Malformed::NotJson(error),
        })?;
        if envelope.api_version != "admission.k8s.io/v1" {
            return Err(Malformed::Version(envelope.api_version));
        }
        if envelope.kind != "AdmissionReview" {
            return Err(Malformed::Kind(envelope.kind));
        }
        let request = envelope.request.ok_or(Malformed::NoRequest)?;
        let Kind { group, version, kind } = &request.kind;
        if request.uid.is_empty() {
            return Err(Malformed::NoUid);
        }
        if (group.as_str(), version.as_str(), kind.as_str()) != ("", "v1", "Pod") {
            return Err(Malformed::NotAPod(format!("{kind:?} ({group}/{version})")));
        }
        if request.operation != "CREATE" {
            return Err(Malformed::Operation(format!("{:?}", request.operation)));
        }
        if request.namespace.is_empty() {
            return Err(Malformed::NoNamespace);
        }
        if !request.object.is_object() {
            return Err(Malformed::NoObject);
        }
        Ok(Self { uid: request.uid, namespace: request.namespace, pod: request.object })
    }

    /// The pod's name, or what its name will begin with.
    pub fn name(&self) -> &str {
        let metadata = &self.pod["metadata"];
        metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default()
    }

    /// The answer.
    pub fn answer(&self, outcome: &Result<Outcome, Refusal>) -> Value {
        let mut response = json!({"uid": self.uid, "allowed": outcome.is_ok()});
        match outcome {
            Ok(outcome) => {
                if !outcome.patch.is_empty() {
                    response["patchType"] = "JSONPatch".into();
                    response["patch"] = STANDARD.encode(outcome.patch.to_string()).into();
                }
                if !outcome.warnings.is_empty() {
                    response["warnings"] = outcome.warnings.clone().into();
                }
            }
            Err(refusal) => {
                let message = format!("the pod cannot be injected: {refusal}");
                response["status"] = json!({"code": 400, "reason": "BadRequest", "message": message});
            }
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sound() -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop",
            "operation": "CREATE", "object": {"metadata": {"generateName": "web-"}}, "somethingNew": [1],
        }})
    }

    #[test]
    fn a_sound_review_is_read() {
        let review = Review::read(sound().to_string().as_bytes()).unwrap();
        assert_eq!((review.uid.as_str(), review.namespace.as_str(), review.name()), ("1", "shop", "web-"));
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        let with = |pointer: &str, value: Value| {
            let mut review = sound();
            *review.pointer_mut(pointer).unwrap() = value;
            review.to_string()
        };
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let table = [
            (String::new(), "not JSON: "),
            ("{".to_owned(), "not JSON: "),
            ("\u{0}\u{1}".to_owned(), "not JSON: "),
            (nested.clone(), "not an AdmissionReview: "),
            (sound().to_string().replace("\"web-\"", &nested), "not JSON: recursion limit"),
            ("[]".to_owned(), "not an AdmissionReview: "),
            ("7".to_owned(), "not an AdmissionReview: "),
            ("{}".to_owned(), "apiVersion \"\" "),
            (with("/apiVersion", "admission.k8s.io/v1beta1".into()), "apiVersion \"admission.k8s.io/v1beta1\" "),
            (with("/kind", "Pod".into()), "kind \"Pod\" "),
            (with("/request", Value::Null), "there is no request"),
            (with("/request", "x".into()), "not an AdmissionReview: "),
            (with("/request/uid", "".into()), "request.uid is empty"),
            (with("/request/uid", 7.into()), "not an AdmissionReview: "),
            (with("/request/kind/kind", "Service".into()), "a review of \"Service\""),
            (with("/request/kind/group", "apps".into()), "a review of \"Pod\" (apps/v1)"),
            (with("/request/operation", "DELETE".into()), "a review of \"DELETE\""),
            (with("/request/namespace", "".into()), "request.namespace is empty"),
            (with("/request/object", Value::Null), "request.object is missing"),
        ];
        for (body, start) in table {
            let said = Review::read(body.as_bytes()).unwrap_err();
            assert!(said.to_string().starts_with(start), "{start}: {said}");
            assert_eq!(said.status(), StatusCode::BAD_REQUEST);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = Review::read(&body);
        }
    }
}
