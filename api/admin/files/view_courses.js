// Courses, who is enrolled, what was completed and certified.

import { ask } from "./api.js";
import { given, h } from "./dom.js";
import { duration, number, percent } from "./format.js";
import { card, figures, grid, table, tag, track } from "./parts.js";

export const courses = {
  title: "Courses",
  about: "All courses since the beginning: enrolments, completions, certificates.",
  every: 60,
  load: ({ signal }) => ask("api/admin/analytics/courses", {}, signal),
  show: ({ totals, courses: rows }) => grid(
    figures(
      ["Courses", number(rows.filter((one) => !one.isDeleted).length)],
      ["Enrolments", number(totals.enrolments)],
      ["Completed", number(totals.completions), totals.enrolments ? `${percent(totals.completionRate)} of enrolments` : null],
      ["Certificates", number(totals.certificates), totals.revokedCertificates ? `${number(totals.revokedCertificates)} revoked` : null],
      ["Watched", duration(totals.watchTimeSeconds * 1000), "by all together"],
    ),
    card("Courses", list(rows), { flush: true }),
  ),
};

function list(rows) {
  return table([
    { title: "Course", class: "wide", cell: name },
    { title: "Enrolments", number: true, cell: (one) => number(one.enrolments) },
    { title: "Completed", number: true, cell: (one) => number(one.completions) },
    { title: "Rate", number: true, cell: (one) => [one.enrolments ? percent(one.completionRate) : "–", track(one.completionRate)] },
    { title: "Certificates", number: true, cell: (one) => number(one.certificates) },
    { title: "Revoked", number: true, cell: (one) => number(one.revokedCertificates) },
    { title: "Watched", number: true, cell: (one) => duration(one.watchTimeSeconds * 1000) },
  ], rows, { label: "Courses", none: "There is no course yet: PUT /v1/courses/{courseId} describes one.", stacked: true });
}

function name(one) {
  return [given(one.title ?? one.courseId, 120), " ", one.isDeleted && tag("deleted"), one.title !== null && h("div", { class: "muted mono" }, given(one.courseId, 80))];
}
