//! The services that are dialled and the routes that are attached to them.
//!
//! Rules are written in YAML's flow style, one a line; `V1` and `V2` stand for the backends.

use weft_tests::ports::service_document;
use weft_tests::world::NAMESPACE;

/// The rules of the HTTPRoute of each service that is dialled.
const HTTP: &[(&str, &str)] = &[
    (
        "matching",
        "{matches: [{path: {type: PathPrefix, value: /}}, {headers: [{name: version, value: one}]}], V1}
         {matches: [{path: {type: PathPrefix, value: /v2}}, {headers: [{name: version, value: two}]}], V2}",
    ),
    (
        "strict",
        "{matches: [{path: {type: Exact, value: /exact}}], V1}
         {matches: [{path: {type: RegularExpression, value: '/re/[0-9]+'}}], V2}
         {matches: [{path: {value: /put}, method: PUT}], V1}
         {matches: [{headers: [{name: X-User, type: RegularExpression, value: 'beta-.*'}]}], V2}",
    ),
    (
        "query",
        "{matches: [{queryParams: [{name: animal, value: whale}]}], V1}
         {matches: [{queryParams: [{name: animal, value: dolphin}]}], V2}
         {matches: [{queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]}], V1}
         {matches: [{queryParams: [{name: animal, type: RegularExpression, value: 'sea .*'}]}], V2}",
    ),
    (
        "headers",
        "{matches: [{path: {value: /set}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: new}]}}], V1}
         {matches: [{path: {value: /add}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-Add, value: new}]}}], V1}
         {matches: [{path: {value: /remove}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [X-Remove]}}], V1}
         {matches: [{path: {value: /backend}}], filters: [
             {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: rule}, {name: x-both, value: rule}]}},
             {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-said, value: rule}]}}],
           backendRefs: [{name: echo-v2, port: 80, filters: [
             {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-both, value: backend}], remove: [x-mine]}},
             {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-heard, value: backend}], remove: [content-type]}}]}]}",
    ),
    (
        "redirect",
        "{matches: [{path: {value: /host}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}
         {matches: [{path: {value: /301}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 301}}]}
         {matches: [{path: {value: /303}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 303}}]}
         {matches: [{path: {value: /307}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 307}}]}
         {matches: [{path: {value: /308}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 308}},
             {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-moved, value: 'yes'}]}}]}
         {matches: [{path: {value: /original}}], filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /replaced}}}]}
         {matches: [{path: {value: /full}}], filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /whole}}}]}
         {matches: [{path: {value: /port}}], filters: [{type: RequestRedirect, requestRedirect: {port: 8083}}]}
         {matches: [{path: {value: /https}}], filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}
         {matches: [{path: {value: /both}}], filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 8443, hostname: example.org}}]}",
    ),
    (
        "rewrite",
        "{matches: [{path: {value: /prefix/one}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /one}}}], V1}
         {matches: [{path: {value: /strip}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], V1}
         {matches: [{path: {value: /full}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /one}}}], V1}
         {matches: [{path: {value: /host}}], filters: [{type: URLRewrite, urlRewrite: {hostname: one.example.org}}], V2}",
    ),
    (
        "named",
        "{name: named-rule, matches: [{path: {value: /named}}], V1}
         {matches: [{path: {value: /unnamed}}], V2}",
    ),
    (
        "split",
        "{backendRefs: [{name: echo-v1, port: 80, weight: 70}, {name: echo-v2, port: 80, weight: 30}, {name: nobody, port: 80, weight: 0}]}",
    ),
    ("front", "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-front, value: 'yes'}]}}], V1}"),
    (
        "half",
        "{matches: [{path: {value: /half}}], backendRefs: [{name: echo-v1, port: 80}, {name: nobody, port: 80}]}
         {matches: [{path: {value: /port}}], backendRefs: [{name: echo-v1, port: 4711}]}",
    ),
    ("abroad", "{backendRefs: [{name: far, namespace: other, port: 80}]}"),
    (
        "mirrored",
        "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}}}], V1}
         {matches: [{path: {value: /never}}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}, percent: 0}}], V1}",
    ),
    (
        "disturbed",
        "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 7099}}},
             {type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 7004}}},
             {type: RequestMirror, requestMirror: {backendRef: {name: nobody, port: 80}}}], V1}",
    ),
    (
        "retried",
        "{matches: [{path: {value: /fail-always/once-more}}], retry: {attempts: 1, backoff: 20ms}, V1}
         {matches: [{path: {value: /fail-always/other-codes}}], retry: {attempts: 3, codes: [500]}, V1}
         {matches: [{path: {value: /fail-always/off}}], retry: {attempts: 0}, V1}",
    ),
    (
        "timed",
        "{matches: [{path: {value: /delay}}], timeouts: {request: 200ms}, V1}
         {matches: [{path: {value: /delay/9s}}], timeouts: {request: 20s, backendRequest: 100ms}, retry: {attempts: 0}, V1}",
    ),
];

/// The rules of the GRPCRoute of each service that is dialled.
const GRPC: &[(&str, &str)] = &[
    ("rpc-split", "{backendRefs: [{name: echo-v1, port: 9090, weight: 70}, {name: echo-v2, port: 9090, weight: 30}]}"),
    (
        "rpc-methods",
        "{matches: [{method: {service: weft.test.v1.Echo, method: Unary}}], R1}
         {matches: [{method: {type: RegularExpression, service: 'weft\\..*', method: 'Server.*'}}], R2}
         {matches: [{method: {method: ClientStream}, headers: [{name: x-which, value: two}]}], R2}",
    ),
    (
        "rpc-headers",
        "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-token, value: set}]}}], R1}",
    ),
];

/// All services and routes.
pub fn all() -> String {
    let routes = HTTP.iter().map(|r| ("HTTPRoute", r)).chain(GRPC.iter().map(|r| ("GRPCRoute", r)));
    let mut documents: Vec<String> = Vec::new();
    for (kind, (service, rules)) in routes {
        documents.push(service_document(NAMESPACE, service));
        documents.push(route(kind, service, &format!("{{name: {service}}}"), "", rules));
    }
    documents.extend(hosts());
    let set =
        "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-port, value: '81'}]}}], V2}";
    documents.push(route(
        "HTTPRoute",
        "ports",
        "{name: echo-v2, port: 81}, {group: '', kind: Service, name: named, port: 81}",
        "",
        set,
    ));
    documents.join("---\n")
}

/// Three routes of one service that differ in their host names.
fn hosts() -> Vec<String> {
    let parent = "{name: hosts}";
    vec![
        service_document(NAMESPACE, "hosts"),
        route("HTTPRoute", "exact", parent, "hostnames: [very.specific.com]", "{V1}"),
        route("HTTPRoute", "wild", parent, "hostnames: ['*.specific.com', '*.wildcard.io']", "{V2}"),
        route("HTTPRoute", "deep", parent, "hostnames: ['*.deep.wildcard.io']", "{V1}"),
    ]
}

/// A route called `name` with `rules`, one a line that begins with `{`, attached to `parent`.
pub fn route(kind: &str, name: &str, parent: &str, more: &str, rules: &str) -> String {
    let backend = |name: &str, port: u16| format!("backendRefs: [{{name: {name}, port: {port}}}]");
    let rules = rules
        .replace("V1}", &(backend("echo-v1", 80) + "}"))
        .replace("V2}", &(backend("echo-v2", 80) + "}"))
        .replace("R1}", &(backend("echo-v1", 9090) + "}"))
        .replace("R2}", &(backend("echo-v2", 9090) + "}"));
    let rules = rules.replace("}\n         {", "},\n         {");
    let parent = parent.replacen('{', "{group: '', kind: Service, ", 1);
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\n\
         spec:\n  parentRefs: [{parent}]\n  {more}\n  rules: [{rules}]\n"
    )
}
