WITH paid AS (SELECT mail, MAX(made) AS made, SUM(total) AS total FROM bills WHERE paid GROUP BY mail)
SELECT p.mail, CASE WHEN p.total > 100 THEN 'gold' ELSE 'plain' END AS level, p.made
FROM paid AS p JOIN people AS q ON q."Mail" = p.mail
