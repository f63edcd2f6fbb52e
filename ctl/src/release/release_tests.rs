//! What helm is told, word by word, and what is read from standard input for it.
//!
//! No helm is run here: what it makes of the words is seen by suite `chart`.

use super::*;

fn release(values: Values, wait: Duration) -> Release {
    let flags = crate::connect::cluster::Flags::default();
    Release {
        name: "weft".to_owned(),
        namespace: flags.mesh_namespace.clone(),
        wait,
        helm: Helm::of("helm", &flags),
        chart: Chart::unpack().unwrap(),
        values,
        _piped: None,
    }
}

fn line(release: &Release, verb: Verb) -> String {
    let chart = release.chart.path().display().to_string();
    let words = release.arguments(verb).into_iter().map(|word| word.into_string().unwrap().replace(&chart, "CHART"));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn each_command_is_a_line_for_helm() {
    let values = Values {
        set: vec!["discovery.replicas=3".to_owned(), "a.b={c,d}".to_owned()],
        set_string: vec!["images.tag=1".to_owned()],
        values: vec!["mine.yaml".into()],
    };
    let release = release(values, Duration::from_secs(90));
    let given = "--values mine.yaml --set discovery.replicas=3 --set a.b={c,d} --set-string images.tag=1";
    for (verb, wanted) in [
        (Verb::Render { offline: true }, format!("template weft CHART {given} --dry-run=client")),
        (Verb::Render { offline: false }, format!("template weft CHART {given} --dry-run=server")),
        (Verb::Install, format!("install weft CHART {given} --create-namespace --wait --timeout=90s")),
        (Verb::Compare, format!("upgrade weft CHART {given} --reset-then-reuse-values --dry-run=server --output=json")),
        (Verb::Upgrade, format!("upgrade weft CHART {given} --reset-then-reuse-values --wait --timeout=90s")),
        (Verb::Uninstall, "uninstall weft --wait --timeout=90s".to_owned()),
    ] {
        assert_eq!(line(&release, verb), wanted);
    }
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let hurried = release(Values::default(), Duration::ZERO);
    assert_eq!(line(&hurried, Verb::Install), "install weft CHART --create-namespace");
    assert_eq!(line(&hurried, Verb::Uninstall), "uninstall weft");
    // Whole seconds, and never none of them.
    let short = release(Values::default(), Duration::from_millis(20));
    assert!(line(&short, Verb::Upgrade).ends_with("--wait --timeout=1s"));
}

#[test]
fn standard_input_is_one_file() {
    let mut twice = Values { values: vec!["-".into(), "-".into()], ..Values::default() };
    assert!(piped(&mut twice).unwrap_err().to_string().contains("named twice"));
    let mut none = Values { values: vec!["a.yaml".into()], ..Values::default() };
    assert!(piped(&mut none).unwrap().is_none());
}
