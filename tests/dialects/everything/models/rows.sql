SELECT b.mail, b.total, b.made FROM bills AS b WHERE b.paid
