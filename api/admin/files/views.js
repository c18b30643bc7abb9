// Every view by its name in the address, and the order of the navigation.

import { courses } from "./view_courses.js";
import { dead } from "./view_dead.js";
import { effects } from "./view_effects.js";
import { erasures } from "./view_erasures.js";
import { funnel } from "./view_funnel.js";
import { journeys } from "./view_journeys.js";
import { live } from "./view_live.js";
import { onboarding } from "./view_onboarding.js";
import { overview } from "./view_overview.js";
import { paths } from "./view_paths.js";
import { performance } from "./view_performance.js";
import { pipe } from "./view_pipe.js";
import { popular } from "./view_popular.js";
import { referrals } from "./view_referrals.js";
import { retention } from "./view_retention.js";
import { usage } from "./view_usage.js";

export const VIEWS = {
  overview, live, funnel, journeys, popular, paths, retention, onboarding, referrals, courses, usage, performance, effects, dead, pipe, erasures,
};
export const NAVIGATION = [
  ["Product", ["overview", "live", "funnel", "journeys", "popular", "paths", "retention"]],
  ["Customers", ["onboarding", "referrals", "courses", "usage"]],
  ["Operation", ["performance", "effects", "dead", "pipe", "erasures"]],
];
