# Read by mini.sh, table1.sh and table2.sh: the ways of training the head that are compared, and what differs from the
# defaults. The alignment losses are weighed so that they do not drown equation 1: as printed they are sums over some 25
# pairs; words for a vocabulary of 512 ids; masks by area, which small lesions survive at 14x14.
# shellcheck shell=sh disable=SC2034
common="--batch 8 --embed 128 --instruction 概括： --mask-resize area --mask-identical"
segment="--weight-segment 0.3" entity="--weight-entity 0.002" theme="--weight-theme 0.005"
arm_settings() {
    case $1 in
    start | baseline) echo "--weight-segment 0 --weight-entity 0 --weight-theme 0" ;;
    segment) echo "$segment --weight-entity 0 --weight-theme 0" ;;
    entity) echo "--weight-segment 0 $entity --weight-theme 0" ;;
    theme) echo "--weight-segment 0 --weight-entity 0 $theme" ;;
    segment-entity) echo "$segment $entity --weight-theme 0" ;;
    bert) echo "$segment $entity $theme --text-features bert --bert-pool mean" ;;
    paper) echo "$segment $entity $theme" ;;
    release) echo "--preset release $segment --weight-entity 0.05 --weight-theme 0.05" ;;
    *) echo "unknown way of training $1" >&2; exit 1 ;;
    esac
}
# A copy that is whole or not there.
copy() { [ -d "$2" ] || { rm -rf "$2.new" && cp -r "$1" "$2.new" && mv "$2.new" "$2"; }; }
# settle FOLDER LINES BEFORE: of lines "NAME<tab>VALUE", what the work in FOLDER is made with, none may differ from
# FOLDER/settings, where earlier calls left theirs, or from BEFORE while that is not there; what is new is added. Where one
# differs nothing in FOLDER is touched.
settle() {
    {
        if [ -e "$1/settings" ]; then cat "$1/settings"; else printf '%s\n' "$3"; fi | sed 's/^/was\t/'
        printf '%s\n' "$2" | sed 's/^/is\t/'
    } | folder=$1 script=$(basename "$0" .sh) awk -F '\t' '
        NF < 3 { next }
        $1 == "was" { was[$2] = $3; print $2 "\t" $3; next }
        !($2 in was) { print $2 "\t" $3; next }
        was[$2] != $3 { differ = differ (differ == "" ? "" : "; ") $2 " was " was[$2] ", is now " $3 }
        END {
            if (differ == "") exit
            print ENVIRON["script"] ": " ENVIRON["folder"] ": " differ ": what is finished there is of the former; set it back, " \
                "work in another folder (make: TABLES=FOLDER), or remove this one" >"/dev/stderr"
            exit 1
        }' >"$1/settings.new" || { rm -f "$1/settings.new"; exit 1; }
    mv "$1/settings.new" "$1/settings"
}
say() { printf '\n== %s\n' "$*"; }
