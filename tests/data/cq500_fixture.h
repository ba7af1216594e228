/* A reads.csv of three studies, whose lines may be used alone. */
#ifndef TESTS_DATA_CQ500_FIXTURE_H
#define TESTS_DATA_CQ500_FIXTURE_H

#define READER(r)                                                                                              \
    "R" #r ":ICH,R" #r ":IPH,R" #r ":IVH,R" #r ":SDH,R" #r ":EDH,R" #r ":SAH,R" #r ":BleedLocation-Left,R" #r  \
    ":BleedLocation-Right,R" #r ":ChronicBleed,R" #r ":Fracture,R" #r ":CalvarialFracture,R" #r                \
    ":OtherFracture,R" #r ":MassEffect,R" #r ":MidlineShift"
#define HEADER "name,Category," READER(1) "," READER(2) "," READER(3) "\n"
/* Votes: ICH 3, IPH 2, SDH 1, left 2, right 1, shift 2; none; ICH 1. */
#define ROW_12                                                                                                 \
    "CQ500-CT-12,B1,1,1,0,0,0,0,1,0,0,0,0,0,0,1,1,1,0,1,0,0,1,0,0,0,0,0,0,0,1,0,0,0,0,0,0,1,0,0,0,0,0,1\n"
#define ROW_3                                                                                                  \
    "CQ500-CT-3,B2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
#define ROW_490                                                                                                \
    "CQ500-CT-490,B2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
#define SOUND HEADER ROW_12 ROW_3 ROW_490
#endif
