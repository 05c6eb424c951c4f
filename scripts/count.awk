# Counts the tests in meson's testlog.txt, one by one: suites print TAP ("ok", "not ok", "ok # SKIP"). Prints what
# failed and what was skipped, then "PASSED FAILED SKIPPED" on the last line. A suite that skips itself ("1..0 # SKIP")
# is one skipped test. A suite that fails without a failed test, prints another number of tests than it announced, or
# no test at all, is one failed test.

function close_suite(   seen) {
    if (suite == "") return
    seen = good + bad + skip
    if (seen == 0 || (plan != "" && seen != plan) || (result != "exit status 0" && bad == 0)) {
        bad++
        print "FAILED   " suite ": " seen " of " (plan == "" ? "?" : plan) " tests told of, " result
    }
    passed += good; failed += bad; skipped += skip
    good = bad = skip = 0; plan = suite = ""
}

/^test: /        { close_suite(); suite = $0; sub(/^test: */, "", suite); sub(/.* \/ /, "", suite) }
/^result: /      { result = $0; sub(/^result: */, "", result) }
/^1\.\.0 # SKIP/  { skip++; plan = plan + 1; sub(/^1\.\.0 # SKIP */, ""); print "skipped  " suite ": " $0 }
/^1\.\.[0-9]+$/  { plan = plan + substr($0, 4) }
/^ok /           { if ($0 ~ /# SKIP/) { skip++; sub(/^ok [0-9]* *-? */, ""); print "skipped  " suite ": " $0 } else good++ }
/^not ok /       { bad++; sub(/^not ok [0-9]* *-? */, ""); print "FAILED   " suite ": " $0 }
END              { close_suite(); print passed + 0, failed + 0, skipped + 0 }
