#!/bin/sh
# Makes the spoken prompts of queues anew: espeak-ng speaks, sox cuts the silence and writes A-law at 8 kHz.
# To use voices of one's own, put files of the same names and form here and build again.
set -eu
cd "$(dirname "$0")"
say() { # language voice name text
    mkdir -p "$1"
    espeak-ng -v "$2" -s 165 -w "$1/$3.wav" "$4"
    sox "$1/$3.wav" -r 8000 -c 1 -t al "$1/$3.al" gain -n -6 silence 1 0.01 1% reverse silence 1 0.01 1% reverse pad 0 0.08
    rm "$1/$3.wav"
}
say zh cmn hold "值班员正忙，请稍候"
say zh cmn place "您排在第"
say zh cmn behind "位"
say en en hold "All officers are busy. Please hold."
say en en place "You are number"
say en en behind "in the queue."
n=0
for zh in 一 二 三 四 五 六 七 八 九 十; do
    n=$((n + 1))
    say zh cmn "$n" "$zh"
    say en en "$n" "$n"
done
say zh cmn more "十多"
say en en more "more than ten"
