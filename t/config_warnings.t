#!/usr/bin/perl

# Why: some directives do something else around a gate than operators expect,
# and some lead past it.  What "nginx -t" can see of that it has to say, with
# file and line; and to keep silent of the rest, or nobody reads it.

use strict;
use warnings;

use Test::Lockbox;

my $t = Test::Lockbox->new;
my $conf = $t->testdir . '/nginx-t.conf';
my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my $gate = 'lockbox on; lockbox_tenant acme; lockbox_service mail;';

# What nginx -t warns of, one line each, without the time and place.
sub warnings_of {
    my (%parts) = @_;

    my ($exit, $output) = $t->nginx_test($t->conf(%parts));

    return join "\n", "exit $exit",
                map { s/\Q$conf\E:/nginx.conf:/r =~ s/^.*?\[warn\] \S+ //r }
                grep { /\[warn\]/ } split /\n/, $output;
}

# The line of nginx.conf that has this text.
sub line_of {
    my ($pattern, %parts) = @_;

    my @lines = split /\n/, $t->conf(%parts);
    my ($line) = grep { $lines[ $_ - 1 ] =~ $pattern } 1 .. @lines;

    return $line;
}

# These locations are warned of so, once; %d stands for the line of the gate.
# The twin is not warned of, and both are taken.
sub warned {
    my ($name, $locations, $pattern, $twin, %more) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %parts = (locations => $locations, %more);
    my $line = line_of(qr/lockbox on/, %parts);

    $pattern =~ s/%d/$line/;
    like(warnings_of(%parts), qr/\Aexit 0\n[^\n]*$pattern[^\n]*\z/, $name);
    silent("$name: its twin", $twin);
}

sub silent {
    my ($name, $locations, %more) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is(warnings_of(locations => $locations, %more), 'exit 0', $name);
}

# The gated location, with those directives and what it usually has.
sub gated {
    my ($more, $location, $content) = @_;

    return 'location ' . ($location // '/a/') . " {\n    $gate\n    $more\n"
           . ($content // $upstream) . "\n}\n";
}

silent('nothing around it', gated(''));


# Return and rewrite

my $return = qr{"return" in a location "/a/" that is gated in nginx.conf:%d: };
my $rewrite =
    qr{"rewrite" in a location "/a/" that is gated in nginx.conf:%d: };

warned('return with a text', gated('return 200 a;'), $return,
       gated('return 404 a;'));
warned('return with nothing', gated('return 204;'), $return,
       gated('return 403;'));
warned('return with a redirect', gated('return 301 /b;'), $return,
       gated('return 400;'));
warned('return with an address', gated('return https://b;'), $return,
       gated('return 444;'));
warned('return of a variable', gated('return 200 $uri$args;'), $return,
       gated('return 500 $uri$args;'));
warned('return in an if', gated('if ($arg_a) { return 200; }'), $return,
       gated('if ($arg_a) { return 405; }'));
warned('return behind much else', gated(<<'EOF_MUCH'), $return,
    set $one "a text of some length and no use";
    set $two $one$arg_a$uri;
    if (-f $two) { set $one 1; }
    if ($one ~ "(a|b)") { set $one $1; }
    if ($one != a) { return 302 /b; }
    break;
EOF_MUCH
       gated(<<'EOF_MUCH'));
    set $one "a text of some length and no use";
    set $two $one$arg_a$uri;
    if (-f $two) { set $one 1; }
    if ($one ~ "(a|b)") { set $one $1; }
    if ($one != a) { return 403; }
    break;
EOF_MUCH

warned('rewrite', gated('rewrite ^/a/(.*)$ /b/$1;'), $rewrite,
       gated('set $b /b/$uri;'));
warned("rewrite $_", gated("rewrite ^/a/(.*)\$ /b/\$1 $_;"), $rewrite,
       gated('if ($uri ~ ^/a/(.*)$) { break; }'))
    for qw(last break);
warned("rewrite $_", gated("rewrite ^/a/(.*)\$ /b/\$1 $_;"), $return,
       gated('if ($uri !~* ^/a/(.*)$) { break; }'))
    for qw(redirect permanent);
warned('rewrite with an address', gated('rewrite ^ https://b;'), $return,
       gated(''));
warned('rewrite in an if', gated('if ($arg_a) { rewrite ^ /b break; }'),
       $rewrite, gated('if ($arg_a) { break; }'));

silent('return where nothing is gated',
       gated('') . 'location /b/ { return 200; rewrite ^ /c; }');
silent('return in a nested location that is not gated',
       gated('location /a/b/ { lockbox off; return 200; }'));
warned('return in a nested location',
       gated('location /a/b/ { return 200; }'),
       qr{"return" in a location "/a/b/" that is gated in nginx.conf:%d: },
       gated('location /a/b/ { return 404; }'));
warned('return in a server', '',
       qr{"return" in a server that is gated in nginx.conf:%d: },
       gated(''), server => "$gate\nreturn 301 https://\$host;");
silent('return in the server around it', gated(''), server => 'return 200;');

my $both = warnings_of(locations => gated('return 200; rewrite ^ /b;'));
is(() = $both =~ /^"(?:return|rewrite)" in/mg, 2, 'both are warned of')
    or diag $both;


# Regular expressions that take what is meant for the gate

my $regex = "location ~ \\.json\$ { $upstream }\n";

sub taken {
    my ($name) = @_;

    return qr{location "~ \\.json\$" is not gated .* location }
           . quotemeta(qq("$name")) . qr{ that is gated in nginx.conf:%d: };
}

warned('a regular expression', gated('') . $regex, taken('/a/'),
       gated('', '^~ /a/') . $regex);
warned('a regular expression in front', $regex . gated(''), taken('/a/'),
       gated('', '= /a/') . $regex);
warned('one before a gated one', $regex . gated('', '~ ^/a/'), taken('^/a/'),
       gated('', '~ ^/a/') . $regex);
warned('one beside the location around it',
       'location / { ' . gated('') . "}\n$regex", taken('/a/'),
       'location ^~ / { ' . gated('') . "}\n$regex");
silent('a gated regular expression in its own prefix location',
       'location / { ' . gated('', '~ ^/a/') . "}\n$regex");
warned('one beside a gate with others in it',
       gated("location /a/b/ { $upstream } if (\$arg_a) { $upstream }") . $regex,
       taken('/a/'),
       gated("location /a/b/ { $upstream } if (\$arg_a) { $upstream }",
             '^~ /a/') . $regex);
silent('one beside a named location', gated('', '@a') . $regex);
silent('one in a gated server', gated('') . $regex, server => $gate);
silent('one that says that it is meant',
       gated('') . $regex =~ s/\{/{ lockbox off;/r);
silent('one that is gated', gated('') . gated('', '~ \.json$'));
silent('one in the gated location', gated($regex));
silent('one beside a nested location of the gate',
       gated("location /a/b/ { $upstream } $regex"));
silent('one without an upstream',
       gated('') . 'location ~ /\.ht { deny all; }');
warned('one where the gate has files',
       gated('', '/a/', 'root /srv;') . 'location ~ \.json$ { root /srv; }',
       taken('/a/'),
       gated('', '/a/') . 'location ~ \.json$ { root /srv; }');
silent('one in another server', gated(''),
       http => "server { listen 127.0.0.1:%%PORT_8082%%; $regex }");

for my $case (
    [ '^/b/', 0 ], [ '^/a/b', 1 ], [ '^/', 1 ], [ '^/A/', 1 ], [ '^/ab/', 0 ],
    [ '^/ab?/', 1 ], [ '^/ab*/', 1 ], [ '^/ab{0}/', 1 ], [ '^/b?', 1 ],
    [ '^/b|^/a', 1 ], [ '^/b(c)|^/a', 1 ], [ '^/b(c|d)', 0 ], [ '^/b\(|/a', 1 ], [ '^/(b|c)', 1 ],
    [ '^\w', 1 ], [ '/b', 1 ], [ '^', 1 ],
) {
    my ($pattern, $overlaps) = @$case;

    my $got = warnings_of(locations =>
        gated('') . qq(location ~* "$pattern" { $upstream }));

    is($got =~ /is not gated/ ? 1 : 0, $overlaps,
       ($overlaps ? 'may take' : 'cannot take') . " /a/: $pattern");
}


# Errors before the gate that lead past it

my $error =
    qr{"error_page" in a location "/a/" that is gated in nginx.conf:%d: };

sub named {
    my ($more) = @_;

    return "location \@open { $more }\n";
}

warned('error_page', gated('error_page 429 @open;') . named($upstream), $error,
       gated('error_page 429 @open;') . named("$gate $upstream"));
warned('error_page of the server', gated('') . named($upstream), $error,
       gated('') . named($upstream), server => 'error_page 503 = @open;');
warned('error_page that nobody says is meant',
       gated('error_page 500 501 @a; error_page 503 @open;')
           . named($upstream), $error,
       gated('error_page 503 @open;') . named("lockbox off; $upstream"));
warned('error_page of the gate and of the upstream',
       gated('error_page 502 503 504 @open;') . named($upstream), $error,
       gated('error_page 502 504 @open;') . named($upstream));
warned('error_page of a gate with others in it',
       gated('error_page 503 @open; location /a/b/ { return 404; }'
             . 'limit_except GET { deny all; }') . named($upstream), $error,
       gated('error_page 503 @open; location /a/b/ { return 404; }'
             . 'limit_except GET { deny all; }') . named("$gate $upstream"));
warned('error_page in an if',
       gated('if ($arg_a) { error_page 503 @open; }') . named($upstream),
       $error, gated('if ($arg_a) { error_page 504 @open; }')
               . named($upstream));
for my $case ([ 1, 'error_page 413 @open;', $upstream ],
              [ 1, 'error_page 413 500 =200 @open;', $upstream ],
              [ 0, 'error_page 413 @open;', "$gate $upstream" ],
              [ 0, 'error_page 413 @open;', "lockbox off; $upstream" ],
              [ 0, 'error_page 413 /open;', $upstream ])
{
    my ($refused, $page, $named) = @$case;
    my ($exit, $output) = $t->nginx_test(
        $t->conf(locations => gated($page) . named($named)));

    is($exit ? 1 : 0, $refused, "$page and $named");
    like($output, qr/"error_page 413 \@open" .* leads past the gate/,
         'which says why') if $refused;
}

silent('error_page without an upstream',
       gated('error_page 413 @open;') . named('return 413;'));
silent('error_page with a path', gated('error_page 413 /open;'));
silent('error_page that leads nowhere', gated('error_page 413 @other;')
                                        . named($upstream));
silent('error_page without named locations', gated('error_page 413 @open;'));
silent('error_page where nothing is gated',
       "location /a/ { error_page 413 \@open; $upstream }" . named($upstream));


# What is no reason to warn

silent($_, gated($_)) for (
    'satisfy any; allow 127.0.0.1; deny all;', 'internal;',
    'limit_except GET { deny all; }', 'mirror /b;', 'auth_request /b;',
    'error_page 401 =200 /b;', 'try_files $uri @b;', 'alias /srv/;',
    'proxy_intercept_errors on; error_page 404 /b;', 'ssi on;',
    "location /a/b/ { lockbox off; $upstream }", 'proxy_store on;',
    "if (\$arg_a) { $upstream }",
);


# What the warnings say is so

$t->redis;
$t->upstream;
$t->write_conf($t->conf(locations => join '',
    gated('return 200 secret;', '/text/'),
    gated('return 301 /open/;', '/moved/'),
    gated('return 404 nothing;', '/nothing/'),
    gated('rewrite ^ /open/ redirect;', '/redirected/'),
    gated('rewrite ^/within/(.*) /tenants/acme/mail/$1 break;', '/within/'),
    gated('rewrite ^ /open/ last;', '/out/'),
    gated('error_page 413 = @meant; client_max_body_size 1;', '/large/'),
    gated('error_page 405 = @open; return 405;',
          '/error/'),
    gated('', '/tenants/acme/mail/'),
    $regex, "location /open/ { $upstream }\n", named($upstream),
    "location \@meant { lockbox off; $upstream }\n"));
$t->run;

my $grant = $t->grant;

for my $case (
    [ '/text/', 503, 503 ], [ '/moved/', 503, 503 ],
    [ '/redirected/', 503, 503 ], [ '/nothing/', 404, 404 ],
    [ '/within/x', 401, 200, '/tenants/acme/mail/x' ],
    [ '/out/', 503, 503 ],
    [ '/tenants/acme/mail/a.json', 200, 200, '/tenants/acme/mail/a.json' ],
    [ '/tenants/acme/mail/a', 401, 200, '/tenants/acme/mail/a' ],
) {
    my ($uri, $without, $with, $arrives) = @$case;

    my $seen = () = $t->upstream_requests;

    is($t->http('GET', $uri)->status, $without, "$uri without a grant");
    is($t->http('GET', $uri, token => $grant)->status, $with,
       "$uri with a grant");

    my @uris = map { $_->{uri} } $t->upstream_requests;
    is_deeply([ @uris[ $seen .. $#uris ] ],
              [ ($arrives) x grep { $_ == 200 } $without, $with ],
              "$uri: what arrives");
}

is($t->http('POST', '/large/x', body => 'too much')->status, 200,
   'a body that is too large leads past the gate where that is meant');
is(($t->upstream_requests)[-1]{uri}, '/large/x', 'with method and path');

my $before = () = $t->upstream_requests;

is($t->http('GET', '/error/x')->json->{code}, 'internal_error',
   'another error does not');
is(scalar(() = $t->upstream_requests), $before, 'and nothing arrives');

done_testing;
