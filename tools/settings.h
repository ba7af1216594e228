/* The settings of pcrl-train: one table (settings_table.c) from which its options, the variables
 * PCRL_TRAIN_<NAME> and the keys of a JSON run file are made. The command line beats the environment, which
 * beats the run file, which beats the preset, which beats the default.
 *
 * A run file is an object: the settings' names with _ for -, "stage", "version". A choice is its word, a list
 * an array, a flag true or false. */
#ifndef TOOLS_SETTINGS_H
#define TOOLS_SETTINGS_H
#include "data/json.h"
#include "tools/train.h"

typedef enum {
    SETTING_INT,    /* int64_t, or int by the field's size */
    SETTING_NUMBER, /* double */
    SETTING_TEXT,   /* const char *; NULL: not given; one of `choices` if there are any */
    SETTING_CHOICE, /* int: index into the words of `choices` */
    SETTING_FLAG,   /* bool */
    SETTING_LIST,   /* int64_t[4] */
    SETTING_SIZE,   /* uint64_t bytes: 512M, 4G */
} SettingType;

/* Which stages read it. */
enum {
    STAGE_RESNET = 1,
    STAGE_LLAMA = 2,
    STAGE_PCRL = 4,
    STAGE_SAM = 8,
    STAGE_BERT = 16,
    STAGE_MEDCLIP = 32,
    STAGE_ALL = 63,
    STAGE_CALL = 64,
};

typedef struct Setting {
    const char *name; /* as an option: slot-steps */
    SettingType type;
    size_t offset, bytes; /* of the field in TrainOptions */
    double low, high;
    const char *choices; /* "a|b|c" */
    const char *value;   /* default, as on the command line; NULL: none */
    const char *release; /* preset release, where it differs */
    int stages;          /* STAGE_CALL: of this call, not of the run: not in run.json */
    const char *help;
} Setting;

enum { SETTINGS_MAX = 112 };
extern const Setting settings_table[];
extern const int settings_count;

typedef enum { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_COMMAND } SettingSource;

typedef struct Settings {
    TrainOptions train;
    SettingSource from[SETTINGS_MAX];
    const char *stage; /* resnet, llama, sam, bert, medclip, pcrl; NULL: not given. Set before settings_file, it
                          beats the file */
    json_t *file;      /* the run file: texts point into it */
} Settings;

/* All defaults. */
void settings_open(Settings *s);
void settings_close(Settings *s);

/* One value as it stands on the command line or in the environment; ERROR_USAGE naming `what`, expected and
 * found. Does nothing where a stronger source has spoken. text NULL: a flag without argument. */
bool settings_set(Settings *s, int row, const char *text, SettingSource from, const char *what, Error *e);
/* Every PCRL_TRAIN_<NAME> in the array (environ); a name that is no setting is an error. */
bool settings_environment(Settings *s, char *const *variables, Error *e);
/* A run file; ERROR_INPUT naming file, key, expected and found. Once. */
bool settings_file(Settings *s, const char *path, Error *e);
/* After all sources: the preset, then what depends on the stage. ERROR_USAGE for settings that do not go
 * together. */
bool settings_resolve(Settings *s, Error *e);
/* The resolved form as a run file, one key a line in the table's order. */
bool settings_write(const Settings *s, const char *path, Error *e);
/* What differs from the run file of an earlier call, as "lr 0.002 (was 0.001), ..." into text; empty where
 * nothing does, or there is no such file, or it cannot be read, which is said. ERROR_INPUT if it is another
 * stage's. */
bool settings_changed(const Settings *s, const char *path, char *text, size_t room, Error *e);

/* For argp: the table as options, and the parser of their keys (ARGP_ERR_UNKNOWN for others). */
const struct argp_option *settings_options(void);
error_t settings_parse(Settings *s, int key, char *arg, struct argp_state *state);
#endif
