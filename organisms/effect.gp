# Drawn by picture.sh from results/curves/.
set terminal svg size 900,430 font "sans-serif,13" background "white"
set output "../docs/effect.svg"
set datafile separator ","
set xrange [-2:2]
set yrange [0:100]
set xtics 0.5
set ytics 25
set grid lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set tics nomirror
set xlabel "scale of the vector (1: as trained)"
set key at screen 0.5,0.01 center bottom horizontal maxcols 4 samplen 2 width 1
set multiplot layout 1,2 margins 0.08,0.99,0.36,0.92 spacing 0.05

directions = "refusal-answer choice-neat retraction-remove"
titles = "refusal choice retraction"
colours = "#4477aa #ee6677 #228833"

do for [model in "llama-2m gemma2-2m"] {
    set title model
    first = model eq "llama-2m"
    if (first) { set ylabel "% of 100 held-out prompts" offset 1,0 } else { unset ylabel }
    # One curve a phenomenon: the flips of +v to the right of 0, those of -v (to the opposite answer) to the left of it.
    # Dashed: the share of the control set that keeps its right answer.
    plot for [i = 1:3] for [side in "negative positive"] \
             sprintf("results/curves/%s.%s.%s.csv", model, word(directions, i), side) \
             using 2:(strcol(1) eq "flip" ? $6 : NaN) with linespoints lw 2 pt 7 ps 0.5 lc rgb word(colours, i) \
             title (first && side eq "positive" ? word(titles, i) : ""), \
         for [i = 1:3] for [side in "negative positive"] \
             sprintf("results/curves/%s.%s.%s.csv", model, word(directions, i), side) \
             using 2:(strcol(1) eq "control" ? $6 : NaN) with lines dt 2 lw 1 lc rgb word(colours, i) \
             title (first && side eq "positive" && i == 1 ? "dashed: control kept" : "")
}
unset multiplot
