#include "common.inc"
#include "table.inc"
Shot(<-0.7, 4.4, -3.9>, <0.02, 0.55, 0.02>, 34, 1, 0)
Room(<0.60, 0.55, 0.50>, <10, 10, 10.4>)
Lamp(<-4, 7, 3>, <1.3, 1.25, 1.18>, 2.0)
Boards(1.5, 9, 26, Grain, 21)
Known(1, object { Espresso(Gloss(<0.82, 0.82, 0.80>)) rotate y*-32 })
