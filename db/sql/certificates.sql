-- name: find_certificate
-- what is shown of one certificate, by its number
SELECT
    f.serial, f.user_id, f.learner_name, f.course_id, coalesce(c.title, f.course_id) AS course_title, f.issued_at,
    f.revoked_at, f.revoked_reason
FROM certificates f LEFT JOIN courses c ON c.course_id = f.course_id
WHERE f.serial = $1 LIMIT 1;

-- name: certificate_was_erased
SELECT EXISTS (SELECT FROM erased_certificates WHERE digest = sha256(convert_to($1, 'UTF8')));
