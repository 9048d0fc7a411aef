use proptest::prelude::*;

use super::*;

fn seven(text: &str, at: &str) -> bool {
    Cron::seven(text).unwrap().holds(at.parse().unwrap())
}

fn five(text: &str, at: &str) -> bool {
    Cron::five(text).unwrap().holds(at.parse().unwrap())
}

#[test]
fn a_period_holds_from_its_first_second_to_its_last() {
    // 2017-02-22 is a Wednesday.
    for (at, holds) in [
        ("2017-02-22T08:59:59", false),
        ("2017-02-22T09:00:00", true),
        ("2017-02-22T17:59:59", true),
        ("2017-02-22T18:00:00", false),
        ("2017-02-25T12:00:00", false),
    ] {
        assert_eq!(seven("* * 9-17 * * mon-fri *", at), holds, "{at}");
        assert_eq!(five("* 9-17 * * mon-fri", at), holds, "{at}");
    }
}

#[test]
fn lists_steps_words_and_years_are_understood() {
    let noon = "2026-11-28T12:30:00"; // a Saturday
    for (text, holds) in [
        ("* * 0-9,12-23 * * sat,sun *", true),
        ("* * 0-11,13-23 * * * *", false),
        ("* */15 * * * * *", true),
        ("* */20 * * * * *", false),
        ("* 10/20 * * * * *", true),
        ("* * 0-12/2 * * * *", true),
        ("* * 1-12/2 * * * *", false),
        ("* * * * Nov * *", true),
        ("* * * * november SATURDAY *", true),
        ("* * * * * * 2026", true),
        ("* * * * * * 2017-2025", false),
        ("1-59 * * * * * *", false),
        ("* * * ? * ? *", true),
    ] {
        assert_eq!(seven(text, noon), holds, "{text}");
    }
}

#[test]
fn sunday_is_0_and_7_and_ends_the_week() {
    let sunday = "2026-11-29T12:00:00";
    for text in [
        "* * * * 0",
        "* * * * 7",
        "* * * * sun",
        "* * * * sat-sun",
        "* * * * 6-7",
    ] {
        assert!(five(text, sunday), "{text}");
    }
    assert!(!five("* * * * 1-6", sunday));
}

#[test]
fn day_or_weekday_is_enough_where_both_are_restricted() {
    // 2026-11-13 is a Friday.
    for (at, holds) in [
        ("2026-11-13T00:00:00", true),
        ("2026-12-13T00:00:00", true),
        ("2026-11-20T00:00:00", true),
        ("2026-11-21T00:00:00", false),
    ] {
        assert_eq!(five("* * 13 * fri", at), holds, "{at}");
    }
}

#[test]
fn the_ends_and_weeks_of_a_month_are_found() {
    for (text, at, holds) in [
        ("* * * L * * *", "2024-02-29T00:00:00", true),
        ("* * * L * * *", "2025-02-27T00:00:00", false),
        // 2026-02-28 is a Saturday.
        ("* * * LW * * *", "2026-02-27T00:00:00", true),
        ("* * * LW * * *", "2026-02-28T00:00:00", false),
        // 2026-08-01 is a Saturday, 2026-08-15 too.
        ("* * * 1W * * *", "2026-08-03T00:00:00", true),
        ("* * * 15W * * *", "2026-08-14T00:00:00", true),
        ("* * * * * 5L *", "2026-11-27T00:00:00", true),
        ("* * * * * friL *", "2026-11-20T00:00:00", false),
        ("* * * * * 5#3 *", "2026-11-20T00:00:00", true),
        ("* * * * * 5#3 *", "2026-11-13T00:00:00", false),
    ] {
        assert_eq!(seven(text, at), holds, "{text} at {at}");
    }
}

#[test]
fn errors_name_the_expression_and_its_flaw() {
    let error = Cron::seven("* * 22-25 * * mon-fri *").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`* * 22-25 * * mon-fri *` is no period: \"25\" is no hour (0 to 23)"
    );
    for (text, flaw) in [
        ("* 8-15 * * mon-fri", "it has 5 fields"),
        (
            "* * 22-6 * * * *",
            "\"22-6\" runs backwards; split it with a comma",
        ),
        ("* * */0 * * * *", "\"0\" in \"*/0\" is no step"),
        ("* * , * * * *", "\"\" is no hour (0 to 23)"),
        ("* * * 0 * * *", "\"0\" is no day of the month (1 to 31)"),
        ("* * * * * mo *", "\"mo\" is no weekday (0 to 7)"),
        (
            "* * * * * 1#6 *",
            "\"6\" in \"1#6\" is none of a month's weeks",
        ),
        ("* * * * * * 99", "\"99\" is no year (1970 to 2099)"),
        ("* * +5 * * * *", "\"+5\" is no hour (0 to 23)"),
    ] {
        let error = Cron::seven(text).unwrap_err();
        assert_eq!(error.flaw(), format!("is no period: {flaw}"), "{text}");
    }
    let error = Cron::five("* * 9-17 * * mon-fri *").unwrap_err();
    assert_eq!(error.flaw(), "is no period: it has 7 fields");
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "[0-9*/,?LW#a-z -]{0,24}") {
        for cron in [Cron::five(&text), Cron::seven(&text)].into_iter().flatten() {
            for at in ["2024-02-29T23:59:59", "2026-08-01T00:00:00"] {
                cron.holds(at.parse().unwrap());
            }
        }
    }
}
