#include "common.inc"
#include "table.inc"
Shot(<0.3, 2.5, -7>, <0, 1.5, 0>, 26, 400/560, 0)
Room(<0.035, 0.03, 0.03>, <0.35, 0.38, 0.5>)
#if (Show = 0) light_source { <0, 2.75, -0.75> rgb <1.6, 0.95, 0.4>*1.3 fade_distance 1.4 fade_power 2 area_light x*0.3, y*0.3, 3, 3 jitter } #end
Lamp(<-5, 7, -4>, <0.45, 0.42, 0.40>, 2.0)
Boards(1.3, 9, 26, Grain, 18)
Known(1, object { Candle(2.2) })
